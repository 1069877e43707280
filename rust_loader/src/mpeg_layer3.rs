//! The decoder of MPEG audio, layer III: MPEG-1 (ISO/IEC 11172-3), MPEG-2 (13818-3) and 2.5, frame by frame.
//!
//! Its samples are Symphonia's to the bit, zeros' signs aside, on all streams that both can read right, and it refuses
//! what Symphonia refuses; tests/layer3.rs compares them. It is there because it is faster (docs/decisions/0007), and
//! because it keeps all lines of mixed blocks, which Symphonia 0.6.1 does not.

use crate::bits::Bits;
use crate::mpeg_bands::Bands;
use crate::mpeg_codes;
use crate::mpeg_header::Header;
use crate::mpeg_hybrid::{self, Hybrid};
use crate::mpeg_side_info::{Block, SideInfo};
use crate::mpeg_spectrum::{self, interleave_windows, read_lines, scale_lines};
use crate::mpeg_stereo::{self, Joint};
use crate::mpeg_synthesis::{self, ROW, SLOTS, Synthesis};

const GRANULE_SAMPLES: usize = 32 * SLOTS;
/// What a frame's main data may take, with what it takes from the frames before.
const MAX_MAIN_DATA_BYTES: usize = 2048;

/// Builds the tables, so that no fork can come in the midst of it.
pub fn prepare() {
    mpeg_codes::prepare();
    mpeg_hybrid::prepare();
    mpeg_spectrum::prepare();
    mpeg_stereo::prepare();
    mpeg_synthesis::prepare();
}

pub struct LayerThree {
    bands: Bands,
    num_channels: usize,
    num_samples: usize,
    reservoir: Reservoir,
    filters: [(Hybrid, Synthesis); 2],
    /// [granule][channel][line]
    lines: Box<[[[f32; 576]; 2]; 2]>,
    samples: Box<[[f32; 2 * GRANULE_SAMPLES]; 2]>,
}

impl LayerThree {
    pub fn new(header: &Header) -> Self {
        Self {
            bands: Bands::new(header.sample_rate_hz),
            num_channels: header.num_channels,
            num_samples: GRANULE_SAMPLES * header.num_granules(),
            reservoir: Reservoir::new(),
            filters: std::array::from_fn(|_| (Hybrid::new(), Synthesis::new())),
            lines: Box::new([[[0.0; 576]; 2]; 2]),
            samples: Box::new([[0.0; 2 * GRANULE_SAMPLES]; 2]),
        }
    }

    /// Decodes a frame, whose header `header` is and is like the first one's. Err: why it cannot be.
    pub fn decode(&mut self, header: &Header, frame: &[u8]) -> Result<(), &'static str> {
        let side_at = if header.has_crc { 6 } else { 4 };
        let main_at = side_at + header.side_info_bytes();
        if frame.len() != header.num_bytes || frame.len() < main_at {
            return Err("a frame of the wrong length");
        }
        let mut info = SideInfo::parse(header, &self.bands, &frame[side_at..main_at])?;
        let missing = self.reservoir.add(&frame[main_at..], info.main_data_begin)?;
        let joint = (frame[3] >> 6 == 1)
            .then_some(Joint { middle_side: frame[3] & 0x20 != 0, intensity: frame[3] & 0x10 != 0 });
        self.read_lines(header, joint, 8 * missing, &mut info)?;
        for (granule, channels) in info.granules[..header.num_granules()].iter_mut().enumerate() {
            let lines = &mut self.lines[granule];
            for (channel, lines) in channels[..self.num_channels].iter().zip(lines.iter_mut()) {
                scale_lines(channel, &self.bands, lines);
            }
            if let (Some(joint), 2) = (joint, self.num_channels) {
                mpeg_stereo::decode(header, joint, &self.bands, channels, lines)?;
            }
            for (channel, info) in channels[..self.num_channels].iter_mut().enumerate() {
                let lines = &mut lines[channel];
                if matches!(info.block, Block::Short | Block::Mixed) {
                    interleave_windows(info, &self.bands, lines);
                }
                let (hybrid, synthesis) = &mut self.filters[channel];
                let mut subbands = [[0.0; ROW]; 32];
                hybrid.run(lines, info.end, info.block, &mut subbands);
                let out = &mut self.samples[channel].as_chunks_mut().0[granule];
                synthesis.run(&subbands, out);
            }
        }
        Ok(())
    }

    /// A channel's samples of the frame that was decoded.
    pub fn samples(&self, channel: usize) -> &[f32] {
        &self.samples[channel][..self.num_samples]
    }

    /// Reads all granules' lines. `missing_bits`: of main data that came before the first frame; what needs them is
    /// silent.
    fn read_lines(
        &mut self,
        header: &Header,
        joint: Option<Joint>,
        missing_bits: usize,
        info: &mut SideInfo,
    ) -> Result<(), &'static str> {
        let (mut at, mut passed) = (0, 0);
        for granule in 0..header.num_granules() {
            if passed < missing_bits {
                for channel in 0..self.num_channels {
                    self.lines[granule][channel].fill(0.0);
                    passed += info.granules[granule][channel].num_bits;
                }
                at = passed.saturating_sub(missing_bits);
                continue;
            }
            for channel in 0..self.num_channels {
                let mut bits = Bits::new(&self.reservoir.bytes[..], at);
                let intensity = channel > 0 && joint.is_some_and(|joint| joint.intensity);
                info.read_scale(granule, channel, header, intensity, &mut bits);
                let info = &mut info.granules[granule][channel];
                let end = at + info.num_bits;
                let Some(num_bits) = end.checked_sub(bits.at) else {
                    return Err("a granule shorter than its scale factors");
                };
                read_lines(&mut bits, num_bits, info, &mut self.lines[granule][channel]);
                if bits.at > 8 * self.reservoir.len {
                    return Err("a granule goes on past the frame's data");
                }
                at = end;
            }
        }
        self.reservoir.taken = at.div_ceil(8).min(self.reservoir.len);
        Ok(())
    }
}

/// Main data, of which a frame may leave some to those after it (11172-3, 2.4.3.1).
struct Reservoir {
    /// Twice what is used, since the last code may be read past the end.
    bytes: Box<[u8; 2 * MAX_MAIN_DATA_BYTES]>,
    len: usize,
    taken: usize,
}

impl Reservoir {
    fn new() -> Self {
        Self { bytes: Box::new([0; 2 * MAX_MAIN_DATA_BYTES]), len: 0, taken: 0 }
    }

    /// Adds a frame's main data to the last `begin` bytes of what is left; the number of those that are not there.
    fn add(&mut self, data: &[u8], begin: usize) -> Result<usize, &'static str> {
        if begin + data.len() > MAX_MAIN_DATA_BYTES {
            return Err("a frame of too much main data");
        }
        let kept = begin.min(self.len - self.taken);
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.len = kept + data.len();
        self.bytes[kept..self.len].copy_from_slice(data);
        self.taken = 0;
        Ok(begin - kept)
    }
}
