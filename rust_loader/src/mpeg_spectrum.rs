//! A granule's 576 spectral lines: decoded, brought to their size and, in short blocks, to their order (ISO/IEC 11172-3,
//! 2.4.3.4.6 to 4.8).

use std::array::from_fn;
use std::sync::LazyLock;

use crate::bits::Bits;
use crate::mpeg_bands::Bands;
use crate::mpeg_codes::{PAIRS, QUADS};
use crate::mpeg_side_info::{Block, Granule};

/// The largest value: 15 and an escape of 13 bits.
const NUM_VALUES: usize = 15 + (1 << 13);
/// Gains are powers of 2^(1/4): the least is that of global_gain 0, subblock_gain 7 and scale factor 34 by 4.
const LEAST_GAIN: i32 = -210 - 8 * 7 - 34 * 4;
const NUM_GAINS: usize = (255 - 210 - LEAST_GAIN) as usize + 1;
const PRE_EMPHASIS: [u8; 22] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 0];

struct Tables {
    /// value^(4/3).
    powers: [f32; NUM_VALUES],
    gains: [f32; NUM_GAINS],
}

static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| {
    Box::new(Tables {
        powers: from_fn(|value| (value as f32).powf(4.0 / 3.0)),
        gains: from_fn(|i| 2f64.powf(0.25 * f64::from(i as i32 + LEAST_GAIN)) as f32),
    })
});

/// Builds the tables, so that no fork can come in the midst of it.
pub fn prepare() {
    LazyLock::force(&TABLES);
}

/// Reads the lines of a granule that has `num_bits` left for them, and notes where they end. Where `bits` stand
/// afterwards, which may be past the last one, says whether they sufficed.
pub fn read_lines(bits: &mut Bits<'_>, num_bits: usize, granule: &mut Granule, lines: &mut [f32; 576]) {
    granule.end = 0;
    if num_bits > 0 {
        let end = bits.at + num_bits;
        let num_read = read_pairs(bits, end, granule, lines);
        granule.end = read_quads(bits, end, granule, num_read, lines);
        bits.at = bits.at.max(end); // stuffing
    }
    lines[granule.end..].fill(0.0);
}

/// The regions of large values, as far as there are bits.
fn read_pairs(bits: &mut Bits<'_>, end: usize, granule: &Granule, lines: &mut [f32; 576]) -> usize {
    let powers = &TABLES.powers;
    let num_paired = granule.num_paired;
    let mut at = 0;
    for (table, region_end) in granule.tables.into_iter().zip([granule.region_ends[0], granule.region_ends[1], 576]) {
        let region_end = region_end.min(num_paired);
        let pairs = &PAIRS[table];
        let Some(code) = pairs.code else {
            if at < region_end {
                lines[at..region_end].fill(0.0);
                at = region_end;
            }
            continue;
        };
        while at < region_end && bits.at < end {
            let word = bits.peek();
            let (length, value) = code.find(word);
            let mut rest = word << length;
            let mut used = length;
            let mut line = |mut value: usize| {
                if value == 15 {
                    value += (rest >> 1 >> (63 - pairs.escape_bits)) as usize;
                    rest <<= pairs.escape_bits;
                    used += pairs.escape_bits;
                }
                let has_sign = u32::from(value > 0);
                let sign = (rest >> 63) as u32 & has_sign;
                rest <<= has_sign;
                used += has_sign;
                f32::from_bits(powers[value].to_bits() | sign << 31)
            };
            let pair = [line(value >> 4), line(value & 15)];
            lines[at..at + 2].copy_from_slice(&pair);
            bits.at += used as usize;
            at += 2;
        }
    }
    at
}

/// The region of values of at most 1, four at a time; where it ends.
fn read_quads(bits: &mut Bits<'_>, end: usize, granule: &Granule, mut at: usize, lines: &mut [f32; 576]) -> usize {
    let code = &QUADS[usize::from(granule.second_quads_table)];
    while at <= 572 && bits.at < end {
        let word = bits.peek();
        let (length, value) = code.find(word);
        let mut rest = word << length;
        let quad: [f32; 4] = from_fn(|i| {
            let there = (value >> (3 - i) & 1) as u32;
            let sign = (rest >> 63) as u32 & there;
            rest <<= there;
            f32::from_bits((there * 1f32.to_bits()) | (sign << 31))
        });
        lines[at..at + 4].copy_from_slice(&quad);
        bits.at += (length + value.count_ones()) as usize;
        at += 4;
    }
    // Some encoders count a few bits too many, of which the last four lines are made.
    if bits.at > end && at > granule.num_paired { at - 4 } else { at }
}

/// Multiplies the lines by their bands' gains.
pub fn scale_lines(granule: &Granule, bands: &Bands, lines: &mut [f32; 576]) {
    let (edges, num_long) = edges(granule.block, bands);
    let gain = granule.global_gain - 210;
    let window_gains: [i32; 3] = from_fn(|window| gain - 8 * granule.subblock_gain[window]);
    for (band, edge) in edges.windows(2).enumerate() {
        if edge[0] >= granule.end {
            break;
        }
        let scale = granule.scale[band];
        let quarters = if band < num_long {
            let pre_emphasis = if granule.preflag { PRE_EMPHASIS[band] } else { 0 };
            gain - i32::from((scale + pre_emphasis) << granule.scale_shift)
        } else {
            window_gains[(band - num_long) % 3] - i32::from(scale << granule.scale_shift)
        };
        let factor = TABLES.gains[(quarters - LEAST_GAIN) as usize];
        for line in &mut lines[edge[0]..edge[1].min(granule.end)] {
            *line *= factor;
        }
    }
}

/// Interleaves the three windows of short bands.
pub fn interleave_windows(granule: &mut Granule, bands: &Bands, lines: &mut [f32; 576]) {
    let (edges, num_long) = edges(granule.block, bands);
    let edges = &edges[num_long..];
    let mut ordered = [0f32; 576];
    let mut end = edges[0];
    for band in edges.windows(4).step_by(3) {
        if band[0] >= granule.end {
            break;
        }
        let width = band[1] - band[0];
        for (i, three) in ordered[band[0]..band[3]].chunks_exact_mut(3).enumerate() {
            three.copy_from_slice(&from_fn::<f32, 3, _>(|window| lines[band[0] + window * width + i]));
        }
        end = band[3];
    }
    let start = edges[0];
    if start < end {
        lines[start..end].copy_from_slice(&ordered[start..end]);
        granule.end = granule.end.max(end);
    }
}

/// Borders of the bands, and how many of the first are long.
pub fn edges(block: Block, bands: &Bands) -> (&[usize], usize) {
    match block {
        Block::Long | Block::Start | Block::Stop => (&bands.long, bands.long.len() - 1),
        Block::Short => (&bands.short, 0),
        Block::Mixed => (&bands.mixed, bands.mixed_long),
    }
}
