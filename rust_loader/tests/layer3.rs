//! The decoder of layer III against Symphonia's: the same samples, to the bit, and the same frames refused, on real
//! streams and on streams of random granules of all kinds that both know.

use std::path::Path;

use _rust_loader::mpeg_header::Header;
use _rust_loader::mpeg_layer3::LayerThree;
use symphonia::core::audio::layouts::{CHANNEL_LAYOUT_MONO, CHANNEL_LAYOUT_STEREO};
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % end
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

struct Both {
    ours: LayerThree,
    theirs: Box<dyn AudioDecoder>,
}

impl Both {
    fn new(header: &Header) -> Self {
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(CODEC_ID_MP3)
            .with_sample_rate(header.sample_rate_hz)
            .with_channels(if header.num_channels == 1 { CHANNEL_LAYOUT_MONO } else { CHANNEL_LAYOUT_STEREO });
        let theirs = symphonia::default::get_codecs()
            .make_audio_decoder(&params, &AudioDecoderOptions::default())
            .expect("Symphonia reads MP3");
        Self { ours: LayerThree::new(header), theirs }
    }

    /// Whether both decoded the frame; panics where they differ.
    fn decode(&mut self, header: &Header, frame: &[u8], what: &str) -> bool {
        let ours = self.ours.decode(header, frame);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::from(header.num_samples()), frame);
        let theirs = self.theirs.decode_ref(&packet);
        let theirs = match (&ours, theirs) {
            (Ok(()), Ok(theirs)) => theirs,
            (Err(_), Err(_)) => return false,
            (Ok(()), Err(theirs)) => panic!("{what}: only Symphonia refuses: {theirs}"),
            (Err(ours), Ok(_)) => panic!("{what}: Symphonia does not refuse: {ours}"),
        };
        let mut expected: Vec<Vec<f32>> = Vec::new();
        theirs.copy_to_vecs_planar(&mut expected);
        for (channel, theirs) in expected.iter().enumerate() {
            let ours = self.ours.samples(channel);
            assert_eq!(ours.len(), theirs.len(), "{what}");
            let differs = ours.iter().zip(theirs).position(|(a, b)| a != b); // zeros may differ in sign
            if let Some(at) = differs {
                panic!("{what}: sample {at} of channel {channel}: {} is not {}", ours[at], theirs[at]);
            }
        }
        assert_eq!(expected.len(), header.num_channels);
        true
    }
}

#[test]
fn real_streams() {
    for name in ["mp3_lame.mp3", "mp3_no_tag.mp3"] {
        let data = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds").join(name)).unwrap();
        let frame_at = |at: usize| {
            let header = Header::parse(&data[at..])?;
            let next = at + header.num_bytes;
            (next == data.len() || data.get(next..).and_then(Header::parse).is_some()).then_some(header)
        };
        let mut at = (0..data.len()).find(|&at| frame_at(at).is_some()).unwrap();
        let mut both = Both::new(&frame_at(at).unwrap());
        let mut num_frames = 0;
        while let Some(header) = data.get(at..).and_then(Header::parse).filter(|h| at + h.num_bytes <= data.len()) {
            assert!(both.decode(&header, &data[at..at + header.num_bytes], &format!("{name}, frame {num_frames}")));
            at += header.num_bytes;
            num_frames += 1;
        }
        assert!(num_frames > 5, "{name}: {num_frames} frames");
    }
}

#[test]
fn random_streams() {
    let mut random = Random(7);
    let (mut decoded, mut refused) = (0, 0);
    for stream in 0..600 {
        let word = loop {
            let bit_rate = 1 + random.below(14) as u32;
            let word = 0xffe2_0000
                | ([0, 2, 3, 3][random.below(4)] << 19)
                | (u32::from(!random.is(4)) << 16)
                | (bit_rate << 12)
                | ((random.below(3) as u32) << 10)
                | ([0, 1, 1, 2, 3][random.below(5)] << 6);
            if Header::parse(&word.to_be_bytes()).is_some() {
                break word;
            }
        };
        let mut both = Both::new(&Header::parse(&word.to_be_bytes()).unwrap());
        let mut left = 0;
        for number in 0..5 {
            let word = word | ((random.below(4) as u32) << 4) | (u32::from(random.is(2)) << 9);
            let header = Header::parse(&word.to_be_bytes()).unwrap();
            let frame = random_frame(word, &header, &mut left, &mut random);
            if both.decode(&header, &frame, &format!("stream {stream}, frame {number} ({word:x})")) {
                decoded += 1;
            } else {
                refused += 1;
                break;
            }
        }
    }
    assert!(decoded > 1000 && refused > 100, "{decoded} decoded, {refused} refused");
}

/// Mixed blocks, which Symphonia does not scale as the standard says: no panic, finite samples.
#[test]
fn any_bytes_are_decoded_or_refused() {
    let mut random = Random(8);
    let mut decoded = 0;
    for _ in 0..3000 {
        let word = 0xffe2_0000 | (random.below(1 << 21) as u32 & !0x0006_0000) | 0x0002_0000;
        let Some(header) = Header::parse(&word.to_be_bytes()) else { continue };
        let mut decoder = LayerThree::new(&header);
        for _ in 0..3 {
            let mut frame: Vec<u8> = (0..header.num_bytes).map(|_| random.below(256) as u8).collect();
            frame[..4].copy_from_slice(&word.to_be_bytes());
            if random.is(2) {
                let side_at = if header.has_crc { 6 } else { 4 };
                frame[side_at..side_at + header.side_info_bytes()].iter_mut().for_each(|byte| *byte &= 0x5b);
            }
            if decoder.decode(&header, &frame).is_ok() {
                decoded += 1;
                assert!((0..header.num_channels).all(|channel| decoder.samples(channel).iter().all(|x| x.is_finite())));
            }
        }
    }
    assert!(decoded > 30, "{decoded}");
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    num_bits: usize,
}

impl BitWriter {
    fn put(&mut self, count: usize, value: usize) {
        for i in (0..count).rev() {
            if self.num_bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("one was pushed");
            *last |= ((value >> i & 1) as u8) << (7 - self.num_bits % 8);
            self.num_bits += 1;
        }
    }
}

/// A frame whose side information makes sense, mostly, and whose main data is noise. `left`: bytes in the reservoir.
fn random_frame(word: u32, header: &Header, left: &mut usize, random: &mut Random) -> Vec<u8> {
    let mut frame = word.to_be_bytes().to_vec();
    frame.resize(if header.has_crc { 6 } else { 4 }, 0x5a);
    let parts = header.num_granules() * header.num_channels;
    let own = header.num_bytes - frame.len() - header.side_info_bytes();
    let most = if header.is_mpeg1 { 511 } else { 255 };
    let begin = if random.is(15) { random.below(most + 1) } else { random.below((*left).min(most) + 1) };
    let mut bits_left = 8 * (begin.min(*left) + own);
    let mut side = BitWriter::default();
    match (header.is_mpeg1, header.num_channels) {
        (true, 1) => [(9, begin), (5, 0), (4, random.below(16))].map(|(count, value)| side.put(count, value)),
        (true, _) => [(9, begin), (3, 0), (8, random.below(256))].map(|(count, value)| side.put(count, value)),
        (false, channels) => [(8, begin), (channels, 0), (0, 0)].map(|(count, value)| side.put(count, value)),
    };
    let mut window = 0;
    for part in 0..parts {
        let share = if random.is(30) { 4096 } else { (bits_left / (parts - part)).min(4095) + 1 };
        let length = random.below(share);
        bits_left = bits_left.saturating_sub(length);
        side.put(12, length);
        let num_pairs = if random.is(60) {
            300
        } else {
            [random.below(289), random.below(1 + length / 6).min(288)][random.below(2)]
        };
        side.put(9, num_pairs);
        side.put(8, 150 + random.below(80));
        let (compress_bits, compress) = if header.is_mpeg1 { (4, random.below(16)) } else { (9, random.below(512)) };
        side.put(compress_bits, compress);
        if part % header.num_channels == 0 || random.is(30) {
            window = [0, 0, 1, 2, 2, 3][random.below(6)];
        }
        side.put(1, usize::from(window > 0));
        let mut tables = |side: &mut BitWriter, count| (0..count).for_each(|_| side.put(5, random.below(32)));
        if window > 0 {
            side.put(2, window);
            side.put(1, 0);
            tables(&mut side, 2);
            side.put(9, random.below(512));
        } else {
            tables(&mut side, 3);
            side.put(7, random.below(128));
        }
        side.put(if header.is_mpeg1 { 3 } else { 2 }, random.below(8) & if header.is_mpeg1 { 7 } else { 3 });
    }
    assert_eq!(side.bytes.len(), header.side_info_bytes());
    frame.extend(side.bytes);
    frame.extend((0..own).map(|_| random.below(256) as u8));
    *left = bits_left / 8;
    frame
}
