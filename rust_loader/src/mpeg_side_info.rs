//! What a layer III frame says of its granules: side information and scale factors (ISO/IEC 11172-3, 2.4.1.7 and
//! 2.4.3.4; 13818-3, 2.4.3.2).

use crate::bits::Bits;
use crate::mpeg_bands::Bands;
use crate::mpeg_header::Header;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    #[default]
    Long,
    Start,
    Short,
    /// Two long subbands, the rest short.
    Mixed,
    Stop,
}

/// One channel of one granule.
#[derive(Clone, Copy)]
pub struct Granule {
    /// Bits of scale factors and spectrum together.
    pub num_bits: usize,
    /// Lines that are coded in pairs; the first region of them ends at `region_ends[0]` if they reach that far.
    pub num_paired: usize,
    pub region_ends: [usize; 2],
    pub tables: [usize; 3],
    pub second_quads_table: bool,
    pub global_gain: i32,
    pub subblock_gain: [i32; 3],
    pub block: Block,
    pub preflag: bool,
    /// Scale factors count in steps of 2^-(1/2) or 2^-1: shift to quarters of an octave.
    pub scale_shift: u32,
    pub compress: u32,
    /// As many as there are bands; those of bands without are 0.
    pub scale: [u8; 39],
    /// Lines from here on are zero.
    pub end: usize,
}

impl Default for Granule {
    fn default() -> Self {
        Self {
            num_bits: 0,
            num_paired: 0,
            region_ends: [0; 2],
            tables: [0; 3],
            second_quads_table: false,
            global_gain: 0,
            subblock_gain: [0; 3],
            block: Block::Long,
            preflag: false,
            scale_shift: 1,
            compress: 0,
            scale: [0; 39],
            end: 0,
        }
    }
}

/// A frame's side information.
#[derive(Default)]
pub struct SideInfo {
    pub main_data_begin: usize,
    /// Which groups of scale factors the second granule takes over from the first.
    shared: [[bool; 4]; 2],
    /// [granule][channel].
    pub granules: [[Granule; 2]; 2],
}

impl SideInfo {
    /// Err: why it cannot be so. `data`: `header.side_info_bytes()` of them.
    pub fn parse(header: &Header, bands: &Bands, data: &[u8]) -> Result<Self, &'static str> {
        let mut bits = Bits::new(data, 0);
        let mut info = Self::default();
        let mono = header.num_channels == 1;
        let (begin_bits, private_bits) = match (header.is_mpeg1, mono) {
            (true, true) => (9, 5),
            (true, false) => (9, 3),
            (false, true) => (8, 1),
            (false, false) => (8, 2),
        };
        info.main_data_begin = bits.read(begin_bits) as usize;
        bits.read(private_bits);
        if header.is_mpeg1 {
            for group in info.shared[..header.num_channels].iter_mut().flatten() {
                *group = bits.flag();
            }
        }
        for granule in &mut info.granules[..header.num_granules()] {
            for channel in &mut granule[..header.num_channels] {
                *channel = parse_granule(header, bands, &mut bits)?;
            }
        }
        Ok(info)
    }

    /// Reads the scale factors of a granule's channel. `intensity`: of the right channel of such a frame.
    pub fn read_scale(
        &mut self,
        granule: usize,
        channel: usize,
        header: &Header,
        intensity: bool,
        bits: &mut Bits<'_>,
    ) {
        if !header.is_mpeg1 {
            return read_scale_mpeg2(&mut self.granules[granule][channel], intensity, bits);
        }
        const BITS: [(u32, u32); 16] = [
            (0, 0),
            (0, 1),
            (0, 2),
            (0, 3),
            (3, 0),
            (1, 1),
            (1, 2),
            (1, 3),
            (2, 1),
            (2, 2),
            (2, 3),
            (3, 1),
            (3, 2),
            (3, 3),
            (4, 2),
            (4, 3),
        ];
        let first = self.granules[0][channel].scale;
        let Granule { block, compress, scale, .. } = &mut self.granules[granule][channel];
        let (low, high) = BITS[*compress as usize];
        let mut read = |range: std::ops::Range<usize>, count| {
            for scale in &mut scale[range] {
                *scale = bits.read(count) as u8;
            }
        };
        match block {
            Block::Short => [(0..18, low), (18..36, high)].into_iter().for_each(|(range, count)| read(range, count)),
            Block::Mixed => [(0..17, low), (17..35, high)].into_iter().for_each(|(range, count)| read(range, count)),
            Block::Long | Block::Start | Block::Stop => {
                let groups = [(0..6, low), (6..11, low), (11..16, high), (16..21, high)];
                for ((range, count), shared) in groups.into_iter().zip(self.shared[channel]) {
                    if granule > 0 && shared {
                        scale[range.clone()].copy_from_slice(&first[range]);
                    } else {
                        for scale in &mut scale[range] {
                            *scale = bits.read(count) as u8;
                        }
                    }
                }
            }
        }
    }
}

fn parse_granule(header: &Header, bands: &Bands, bits: &mut Bits<'_>) -> Result<Granule, &'static str> {
    let mut granule = Granule {
        num_bits: bits.read(12) as usize,
        num_paired: 2 * bits.read(9) as usize,
        global_gain: bits.read(8) as i32,
        compress: bits.read(if header.is_mpeg1 { 4 } else { 9 }),
        ..Granule::default()
    };
    if granule.num_paired > 576 {
        return Err("a granule of more than 576 lines");
    }
    let table = |bits: &mut Bits<'_>| bits.read(5) as usize;
    if bits.flag() {
        let (kind, mixed) = (bits.read(2), bits.flag());
        granule.block = match (kind, mixed) {
            (1, _) => Block::Start,
            (2, false) => Block::Short,
            (2, true) => Block::Mixed,
            (3, _) => Block::Stop,
            _ => return Err("a window switched to no kind of block"),
        };
        granule.tables = [table(bits), table(bits), 0];
        granule.subblock_gain = std::array::from_fn(|_| bits.read(3) as i32);
        let is_short = kind == 2;
        let first_end = match (header.is_mpeg1, header.is_mpeg25()) {
            (_, true) => bands.long[if granule.block == Block::Short { 6 } else { 8 }],
            (is_mpeg1, _) if is_mpeg1 || is_short => 36,
            _ => 54,
        };
        granule.region_ends = [first_end, 576];
    } else {
        granule.tables = std::array::from_fn(|_| table(bits));
        let first = bits.read(4) as usize + 1;
        let second = first + bits.read(3) as usize + 1;
        granule.region_ends = [bands.long[first], bands.long.get(second).copied().unwrap_or(576)];
    }
    granule.preflag = header.is_mpeg1 && bits.flag();
    granule.scale_shift = if bits.flag() { 2 } else { 1 };
    granule.second_quads_table = bits.flag();
    Ok(granule)
}

/// 13818-3, 2.4.3.2: lengths in bits of four groups of bands, and how many bands each has.
fn read_scale_mpeg2(granule: &mut Granule, intensity: bool, bits: &mut Bits<'_>) {
    let code = granule.compress;
    let kind = match granule.block {
        Block::Long | Block::Start | Block::Stop => 0,
        Block::Short => 1,
        Block::Mixed => 2,
    };
    let (lengths, bands): ([u32; 4], [[usize; 4]; 3]) = if intensity {
        match code / 2 {
            code @ ..180 => ([code / 36, code % 36 / 6, code % 6, 0], [[7, 7, 7, 0], [12, 12, 12, 0], [6, 15, 12, 0]]),
            code @ 180..244 => {
                let code = code - 180;
                ([code % 64 / 16, code % 16 / 4, code % 4, 0], [[6, 6, 6, 3], [12, 9, 9, 6], [6, 12, 9, 6]])
            }
            code => ([(code - 244) / 3, (code - 244) % 3, 0, 0], [[8, 8, 5, 0], [15, 12, 9, 0], [6, 18, 9, 0]]),
        }
    } else {
        granule.preflag = code >= 500;
        match code {
            ..400 => {
                ([code / 16 / 5, code / 16 % 5, code % 16 / 4, code % 4], [[6, 5, 5, 5], [9, 9, 9, 9], [6, 9, 9, 9]])
            }
            400..500 => {
                let code = code - 400;
                ([code / 4 / 5, code / 4 % 5, code % 4, 0], [[6, 5, 7, 3], [9, 9, 12, 6], [6, 9, 12, 6]])
            }
            _ => ([(code - 500) / 3, (code - 500) % 3, 0, 0], [[11, 10, 0, 0], [18, 18, 0, 0], [15, 18, 0, 0]]),
        }
    };
    let mut at = 0;
    for (length, count) in lengths.into_iter().zip(bands[kind]) {
        for scale in &mut granule.scale[at..at + count] {
            *scale = bits.read(length) as u8;
        }
        at += count;
    }
}
