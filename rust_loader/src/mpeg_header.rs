//! One MPEG audio frame's header and the part of its side information that says what it takes from the frames before.
//! ISO/IEC 11172-3, 2.4.1 to 2.4.3, and 13818-3; MPEG-2.5 as in LAME's `tables.c`.

/// Bytes of a frame that this module ever looks at: header, CRC, side information.
pub const HEAD_BYTES: usize = 4 + 2 + 32;

/// The longest frame that there can be: MPEG-2.5 layer II, 160 kb/s at 8 kHz, padded.
pub const MAX_FRAME_BYTES: usize = 2881;

const KBITS_L2: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const KBITS_L3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const KBITS_LOW_RATES: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Two,
    Three,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub layer: Layer,
    /// MPEG-1; otherwise MPEG-2 or 2.5.
    pub is_mpeg1: bool,
    pub sample_rate_hz: u32,
    pub num_channels: usize,
    pub has_crc: bool,
    /// Length of the whole frame.
    pub num_bytes: usize,
}

impl Header {
    /// None for what no frame begins with, and for what the decoder does not read: layer I, free format.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let word = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
        if word >> 21 != 0x7ff {
            return None;
        }
        let (is_mpeg1, rate_shift) = match word >> 19 & 3 {
            0 => (false, 2),
            2 => (false, 1),
            3 => (true, 0),
            _ => return None,
        };
        let layer = match word >> 17 & 3 {
            1 => Layer::Three,
            2 => Layer::Two,
            _ => return None,
        };
        let index = (word >> 12 & 15) as usize;
        let kbits = match (layer, is_mpeg1) {
            (Layer::Two, true) => KBITS_L2,
            (Layer::Three, true) => KBITS_L3,
            (_, false) => KBITS_LOW_RATES,
        };
        let kbits = *kbits.get(index).filter(|&&kbits| kbits > 0)?;
        let sample_rate_hz = *[44_100, 48_000, 32_000].get((word >> 10 & 3) as usize)? >> rate_shift;
        let num_channels = if word >> 6 & 3 == 3 { 1 } else { 2 };
        if layer == Layer::Two {
            // 11172-3, 2.4.2.3: which bit rates go with which modes. (The decoder holds MPEG-2 to the same.)
            let wrong: &[u32] = if num_channels == 1 { &[224, 256, 320, 384] } else { &[32, 48, 56, 80] };
            if wrong.contains(&kbits) {
                return None;
            }
        }
        let slots = if layer == Layer::Three && !is_mpeg1 { 72_000 } else { 144_000 };
        let num_bytes = (slots * kbits / sample_rate_hz + (word >> 9 & 1)) as usize;
        let has_crc = word >> 16 & 1 == 0;
        Some(Self { layer, is_mpeg1, sample_rate_hz, num_channels, has_crc, num_bytes })
    }

    /// Whether both can be frames of one stream: all but the bit rate is the same.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.layer, self.is_mpeg1, self.sample_rate_hz, self.num_channels)
            == (other.layer, other.is_mpeg1, other.sample_rate_hz, other.num_channels)
    }

    /// Per channel.
    pub fn num_samples(&self) -> u64 {
        if self.layer == Layer::Three && !self.is_mpeg1 { 576 } else { 1152 }
    }

    /// Layer III only: spectra per frame and channel.
    pub fn num_granules(&self) -> usize {
        if self.is_mpeg1 { 2 } else { 1 }
    }

    pub fn is_mpeg25(&self) -> bool {
        self.sample_rate_hz < 16_000
    }

    /// Layer III only.
    pub fn side_info_bytes(&self) -> usize {
        match (self.is_mpeg1, self.num_channels) {
            (true, 1) => 17,
            (true, _) => 32,
            (false, 1) => 9,
            (false, _) => 17,
        }
    }

    /// Frames before a frame whose spectra must be right for its own samples to be: the synthesis window reaches 15
    /// slots of 32 samples back (11172-3, Annex B), and what layer III adds there overlaps by one granule of 18 slots.
    pub fn lead_frames(&self) -> u64 {
        if self.layer == Layer::Three && !self.is_mpeg1 { 2 } else { 1 }
    }

    /// What the frame that begins with `frame` (`HEAD_BYTES` of it, or all) has in the bit reservoir.
    pub fn main_data(&self, frame: &[u8]) -> MainData {
        if self.layer == Layer::Two {
            return MainData::default();
        }
        let side_info = &frame[frame.len().min(if self.has_crc { 6 } else { 4 })..];
        let bits = |from: usize, count: usize| {
            (from..from + count).fold(0, |value, i| {
                value << 1 | u32::from(side_info.get(i / 8).is_some_and(|byte| byte << (i % 8) & 0x80 != 0))
            })
        };
        // main_data_begin, private bits, scfsi (MPEG-1); then per granule and channel, part2_3_length in front
        let (begin_bits, preamble, granules, channel_bits) = match (self.is_mpeg1, self.num_channels) {
            (true, 1) => (9, 9 + 5 + 4, 2, 59),
            (true, _) => (9, 9 + 3 + 8, 2, 59),
            (false, 1) => (8, 8 + 1, 1, 63),
            (false, _) => (8, 8 + 2, 1, 63),
        };
        let parts = granules * self.num_channels;
        let overhead = self.side_info_bytes() + if self.has_crc { 6 } else { 4 };
        MainData {
            begin: bits(0, begin_bits),
            num_bytes: self.num_bytes.saturating_sub(overhead) as u32,
            used_bits: (0..parts).map(|part| bits(preamble + part * channel_bits, 12)).sum(),
        }
    }
}

/// A frame's main data: it begins `begin` bytes before the frame's own, of which there are `num_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MainData {
    pub begin: u32,
    pub num_bytes: u32,
    pub used_bits: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_known_frames() {
        // (header, layer, rate, channels, bytes, samples)
        let cases = [
            (0xfffb9064u32, Layer::Three, 44_100, 2, 417, 1152), // 128 kb/s joint stereo
            (0xfffb9264, Layer::Three, 44_100, 2, 418, 1152),    // the same, padded
            (0xfffae064, Layer::Three, 44_100, 2, 1044, 1152),   // 320 kb/s, CRC
            (0xfffb14c4, Layer::Three, 48_000, 1, 96, 1152),     // 32 kb/s mono
            (0xfff314c4, Layer::Three, 24_000, 1, 24, 576),      // MPEG-2, 8 kb/s
            (0xffe318c4, Layer::Three, 8_000, 1, 72, 576),       // MPEG-2.5, 8 kb/s
            (0xfffda404, Layer::Two, 48_000, 2, 576, 1152),      // 192 kb/s
            (0xfffce804, Layer::Two, 32_000, 2, 1728, 1152),     // 384 kb/s
        ];
        for (word, layer, rate, channels, bytes, samples) in cases {
            let header = Header::parse(&word.to_be_bytes()).unwrap();
            assert_eq!((header.layer, header.sample_rate_hz, header.num_channels), (layer, rate, channels), "{word:x}");
            assert_eq!((header.num_bytes, header.num_samples()), (bytes, samples), "{word:x}");
            assert_eq!(header.has_crc, word & 0x1_0000 == 0);
        }
    }

    #[test]
    fn every_word_is_refused_or_sane() {
        for low in 0..1u32 << 21 {
            let Some(header) = Header::parse(&(0xffe0_0000 | low).to_be_bytes()) else { continue };
            let least = if header.layer == Layer::Three { header.side_info_bytes() + 6 } else { 6 };
            assert!((least..=MAX_FRAME_BYTES).contains(&header.num_bytes), "{low:x}: {header:?}");
        }
        // reserved version, layer I, reserved layer, free format, bit rate 15, rate 3, short
        for word in [0xffebu32 << 16 | 0x9064, 0xffff9064, 0xfff99064, 0xfffb0064, 0xfffbf064, 0xfffb9c64, 0x7ffb9064] {
            assert_eq!(Header::parse(&word.to_be_bytes()), None, "{word:x}");
        }
        assert_eq!(Header::parse(&[0xff, 0xfb, 0x90]), None);
    }

    #[test]
    fn side_information_by_hand() {
        // MPEG-1 stereo: begin 0x155, then 11 bits, then four blocks of 59 bits that begin with 12 bits of length
        let lengths = [100u32, 200, 300, 4095];
        let mut text = format!("{:09b}{}", 0x155, "0".repeat(11));
        for length in lengths {
            text += &format!("{length:012b}{}", "1".repeat(47));
        }
        let bytes = text
            .as_bytes()
            .chunks(8)
            .map(|byte| byte.iter().fold(0u8, |value, bit| value << 1 | (bit - b'0')) << (8 - byte.len()));
        for (word, crc) in [(0xfffb9064u32, 0), (0xfffa9064, 2)] {
            let mut frame = word.to_be_bytes().to_vec();
            frame.extend(vec![0xaa; crc]);
            frame.extend(bytes.clone());
            let found = Header::parse(&frame).unwrap().main_data(&frame);
            let expected = MainData { begin: 0x155, num_bytes: 417 - 36 - crc as u32, used_bits: lengths.iter().sum() };
            assert_eq!(found, expected);
        }
        let cut = Header::parse(&0xfffb9064u32.to_be_bytes()).unwrap().main_data(&[0xff, 0xfb, 0x90]);
        assert_eq!(cut.begin, 0);
    }
}
