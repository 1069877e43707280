//! From a granule's spectrum to 32 subbands of 18 slots: alias reduction, inverse MDCT, windows and overlap (ISO/IEC
//! 11172-3, 2.4.3.4.10.1 to 10.3).
//!
//! Four subbands side by side. The 36-point transform is S.-W. Lee's ("Improved algorithm for efficient computation of
//! the forward and backward MDCT in MPEG audio coder", IEEE Trans. Circuits and Systems II 48(10), 2001). Sums are in the
//! order of Symphonia's decoder, which is the reference.

use std::array::from_fn;
use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::lanes::Lanes;
use crate::mpeg_side_info::Block;
use crate::mpeg_synthesis::{ROW, SLOTS};

const GROUPS: usize = 32 / Lanes::COUNT;
/// Subbands below the short windows of a mixed block.
const MIXED_LONG_SUBBANDS: usize = 2;

struct Tables {
    /// Windows of long, start, short (12 values) and stop blocks.
    windows: [[f32; 36]; 4],
    /// cos(pi / 24 (2 i + 7) (2 k + 1)) for i = 3..9.
    cos_12: [[f32; 6]; 6],
    /// Alias reduction: cs and ca of Table B.9.
    aliases: [(f32, f32); 8],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let long = |i: usize| (PI / 36.0 * (i as f64 + 0.5)).sin() as f32;
    let short = |i: usize| (PI / 12.0 * (i as f64 + 0.5)).sin() as f32;
    let start = |i: usize| match i {
        0..18 => long(i),
        18..24 => 1.0,
        24..30 => short(i - 18),
        _ => 0.0,
    };
    let stop = |i: usize| match i {
        0..6 => 0.0,
        6..12 => short(i - 6),
        12..18 => 1.0,
        _ => long(i),
    };
    const C: [f64; 8] = [-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037];
    Tables {
        windows: [from_fn(long), from_fn(start), from_fn(|i| if i < 12 { short(i) } else { 0.0 }), from_fn(stop)],
        cos_12: from_fn(|i| from_fn(|k| (PI / 24.0 * ((2 * (i + 3) + 7) * (2 * k + 1)) as f64).cos() as f32)),
        aliases: C.map(|c| {
            let length = (1.0 + c * c).sqrt();
            ((1.0 / length) as f32, (c / length) as f32)
        }),
    }
});

/// Builds the tables, so that no fork can come in the midst of it.
pub fn prepare() {
    LazyLock::force(&TABLES);
}

/// One channel's overlap from granule to granule.
pub struct Hybrid {
    overlap: Box<[[Lanes; SLOTS]; GROUPS]>,
}

impl Hybrid {
    pub fn new() -> Self {
        Self { overlap: Box::new([[Lanes::splat(0.0); SLOTS]; GROUPS]) }
    }

    /// `spectrum`: all lines, zero from `end` on; short blocks with their windows interleaved. Fills the first `SLOTS`
    /// of each row.
    pub fn run(&mut self, spectrum: &mut [f32; 576], end: usize, block: Block, subbands: &mut [[f32; ROW]; 32]) {
        let tables = &*TABLES;
        let end = reduce_aliases(spectrum, end, block, &tables.aliases);
        let [long, start, short, stop] = &tables.windows;
        let window = match block {
            Block::Start => start,
            Block::Stop => stop,
            Block::Long | Block::Short | Block::Mixed => long,
        };
        for (group, overlap) in self.overlap.iter_mut().enumerate() {
            let first = group * Lanes::COUNT;
            let slots = if first * SLOTS >= end {
                std::mem::replace(overlap, [Lanes::splat(0.0); SLOTS])
            } else {
                let line = |band: usize, k: usize| spectrum[(first + band) * SLOTS + k];
                let x: [Lanes; SLOTS] = from_fn(|k| Lanes::new([line(0, k), line(1, k), line(2, k), line(3, k)]));
                match block {
                    Block::Short => imdct_12(&x, short, &tables.cos_12, overlap),
                    Block::Mixed if group == 0 => {
                        let mut other = *overlap;
                        let slots = imdct_12(&x, short, &tables.cos_12, overlap);
                        let lower = imdct_36(&x, long, &mut other);
                        *overlap = from_fn(|k| join(other[k], overlap[k]));
                        from_fn(|k| join(lower[k], slots[k]))
                    }
                    Block::Mixed => imdct_12(&x, short, &tables.cos_12, overlap),
                    Block::Long | Block::Start | Block::Stop => imdct_36(&x, window, overlap),
                }
            };
            store(&slots, &mut subbands[first..first + Lanes::COUNT]);
        }
    }
}

/// The long subbands of a mixed block from `long`, the rest from `short`.
fn join(long: Lanes, short: Lanes) -> Lanes {
    let (long, short) = (long.to_array(), short.to_array());
    Lanes::new(from_fn(|lane| if lane < MIXED_LONG_SUBBANDS { long[lane] } else { short[lane] }))
}

/// Rows of subbands, odd slots of odd subbands negated, which undoes the filterbank's inversion of frequencies.
fn store(slots: &[Lanes; SLOTS], rows: &mut [[f32; ROW]]) {
    let inverted = Lanes::new([1.0, -1.0, 1.0, -1.0]);
    let at = |k: usize| match k {
        SLOTS.. => Lanes::splat(0.0),
        _ if k % 2 == 1 => slots[k] * inverted,
        _ => slots[k],
    };
    for k in (0..ROW).step_by(Lanes::COUNT) {
        let columns = Lanes::transpose(from_fn(|i| at(k + i)));
        for (row, column) in rows.iter_mut().zip(columns) {
            row[k..k + Lanes::COUNT].copy_from_slice(&column.to_array());
        }
    }
}

/// Butterflies across the borders of subbands; where the spectrum ends after them.
fn reduce_aliases(spectrum: &mut [f32; 576], end: usize, block: Block, aliases: &[(f32, f32); 8]) -> usize {
    let (borders_end, end) = match block {
        Block::Short => return end,
        Block::Mixed => (MIXED_LONG_SUBBANDS * SLOTS, end.max(MIXED_LONG_SUBBANDS * SLOTS)),
        Block::Long | Block::Start | Block::Stop => {
            let end = SLOTS * (end / SLOTS + 2).min(32);
            (end, end)
        }
    };
    for border in (SLOTS..borders_end).step_by(SLOTS) {
        let around: &mut [f32; 16] = (&mut spectrum[border - 8..border + 8]).try_into().expect("16 lines");
        for (i, (cs, ca)) in aliases.iter().enumerate() {
            let (lower, upper) = (around[7 - i], around[8 + i]);
            around[7 - i] = lower * cs - upper * ca;
            around[8 + i] = upper * cs + lower * ca;
        }
    }
    end
}

/// The inverse MDCT of 18 lines, windowed and added to the overlap, which it replaces.
#[inline(always)]
fn imdct_36(x: &[Lanes; 18], window: &[f32; 36], overlap: &mut [Lanes; 18]) -> [Lanes; 18] {
    let dct = dct_iv(x);
    let slots = from_fn(|i| match i {
        0..9 => overlap[i] + dct[9 + i] * window[i],
        _ => overlap[i] - dct[26 - i] * window[i],
    });
    *overlap = from_fn(|i| match i {
        0..9 => dct[8 - i] * -window[18 + i],
        _ => dct[i - 9] * -window[18 + i],
    });
    slots
}

/// A DCT-IV of 18 points by one of type II (Lee's step 2); the scale is 2 cos(pi (2 i + 1) / 72).
#[inline(always)]
fn dct_iv(x: &[Lanes; 18]) -> [Lanes; 18] {
    const SCALE: [f32; 18] = [
        1.9980965, 1.9828898, 1.952592, 1.9074339, 1.847759, 1.7740216, 1.6867828, 1.5867066, 1.4745547, 1.3511804,
        1.2175229, 1.0745993, 0.9234972, 0.76536685, 0.6014116, 0.43287924, 0.26105237, 0.08723877,
    ];
    let mut y = dct_ii_18(&from_fn(|i| x[i] * SCALE[i])).map(|y| y * 0.5);
    for i in 1..18 {
        y[i] = y[i] - y[i - 1];
    }
    y
}

/// Step 3: 18 points by two times nine; the scale is 2 cos(pi (2 i + 1) / 36).
#[inline(always)]
fn dct_ii_18(x: &[Lanes; 18]) -> [Lanes; 18] {
    const SCALE: [f32; 9] = [
        1.9923894,
        1.9318516,
        1.8126156,
        1.6383041,
        std::f32::consts::SQRT_2,
        1.1471529,
        0.84523654,
        0.5176381,
        0.17431149,
    ];
    let even = dct_ii_9(&from_fn(|i| x[i] + x[17 - i]));
    let mut odd = dct_ii_9(&from_fn(|i| (x[i] - x[17 - i]) * SCALE[i]));
    for i in 1..9 {
        odd[i] = odd[i] - odd[i - 1];
    }
    from_fn(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] })
}

/// Step 4: nine points by 8 products.
#[inline(always)]
fn dct_ii_9(x: &[Lanes; 9]) -> [Lanes; 9] {
    const MINUS_ROOT_3: f32 = -1.7320508;
    /// -2 cos(8 pi / 9), -2 cos(4 pi / 9), -2 cos(2 pi / 9), and the same of sines.
    const COS: [f32; 3] = [1.8793852, -0.34729636, -1.5320889];
    const SIN: [f32; 3] = [-0.6840403, -1.9696155, -1.2855753];

    let (sum_35, diff_35) = (x[3] + x[5], x[3] - x[5]);
    let (sum_62, diff_62) = (x[6] + x[2], x[6] - x[2]);
    let (sum_17, diff_17) = (x[1] + x[7], x[1] - x[7]);
    let (sum_80, diff_80) = (x[8] + x[0], x[8] - x[0]);

    let total_even = x[4] + sum_17;
    let total_rest = sum_35 + sum_62 + sum_80;
    let middle = x[4] * 2.0 - sum_17;
    let root = diff_17 * MINUS_ROOT_3;
    let cos = [(sum_62 - sum_80) * COS[0], (sum_35 - sum_80) * COS[1], (sum_35 - sum_62) * COS[2]];
    let sin = [(diff_62 + diff_80) * SIN[0], (diff_35 - diff_80) * SIN[1], (diff_35 + diff_62) * SIN[2]];
    [
        total_even + total_rest,
        sin[2] - (root + sin[1]),
        cos[2] - (middle + cos[0]),
        (diff_35 - diff_62 + diff_80) * MINUS_ROOT_3,
        middle - cos[0] - cos[1],
        root - sin[0] - sin[1],
        total_rest - total_even * 2.0,
        root + sin[0] + sin[2],
        middle + cos[1] + cos[2],
    ]
}

/// Three inverse MDCTs of 6 lines each, which are interleaved, windowed and added to each other and the overlap.
#[inline(always)]
fn imdct_12(x: &[Lanes; 18], window: &[f32; 36], cos: &[[f32; 6]; 6], overlap: &mut [Lanes; 18]) -> [Lanes; 18] {
    let mut sums = [Lanes::splat(0.0); 36];
    for w in 0..3 {
        let dot = |row: &[f32; 6]| (1..6).fold(x[w] * row[0], |sum, k| sum + x[3 * k + w] * row[k]);
        for i in 0..3 {
            let (left, right) = (dot(&cos[i]), dot(&cos[i + 3]));
            let mut add = |at: usize, value: Lanes| sums[6 + 6 * w + at] = sums[6 + 6 * w + at] + value;
            add(2 - i, left * -window[2 - i]);
            add(3 + i, left * window[3 + i]);
            add(6 + i, right * window[6 + i]);
            add(11 - i, right * window[11 - i]);
        }
    }
    let slots = from_fn(|i| sums[i] + overlap[i]);
    *overlap = from_fn(|i| sums[18 + i]);
    slots
}
