//! Frames of FLAC as the segments decode them, against Symphonia's decoder: equal on the seed and its damaged frames,
//! and no panic on anything.

use std::io::Cursor;
use std::path::Path;

use _rust_loader::flac_frame::FlacFrame;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

#[test]
fn frames_and_damaged_frames() {
    let data = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/flac.flac")).unwrap();
    let media = MediaSourceStream::new(Box::new(Cursor::new(data)), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), media, FormatOptions::default(), MetadataOptions::default())
        .unwrap();
    let track = reader.default_track(TrackType::Audio).unwrap().clone();
    let params = track.codec_params.as_ref().and_then(|params| params.audio()).unwrap();
    let (num_channels, bits) = (params.channels.as_ref().unwrap().count(), params.bits_per_sample.unwrap());
    let mut decoder =
        symphonia::default::get_codecs().make_audio_decoder(params, &AudioDecoderOptions::default()).unwrap();
    let (mut frame, mut state) = (FlacFrame::default(), 1u64);
    let (mut num_equal, mut num_damaged) = (0, 0);
    while let Some(packet) = reader.next_packet().unwrap() {
        for damage in 0..400 {
            let mut data = packet.data.to_vec();
            if damage > 0 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = (state >> 33) as usize % data.len().min(if damage % 2 == 0 { 40 } else { usize::MAX });
                data[at] ^= 1 << (state >> 61);
                data.truncate(if damage % 10 == 0 { at } else { data.len() });
            }
            let ours = frame.decode(&data, num_channels, bits);
            assert!(ours.is_some() || damage > 0);
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, &data);
            let Ok(theirs) = decoder.decode_ref(&packet) else { continue };
            let mut expected: Vec<Vec<f32>> = Vec::new();
            theirs.copy_to_vecs_planar(&mut expected);
            if ours.is_none() || frame.num_samples() != expected[0].len() {
                assert!(damage > 0); // what either refuses, or a length that Symphonia takes from elsewhere
                continue;
            }
            for (channel, expected) in expected.iter().enumerate() {
                let mut found = vec![0.0; expected.len()];
                frame.copy_to(channel, 0, &mut found);
                if damage == 0 {
                    assert!(found == *expected, "channel {channel}");
                } else {
                    num_damaged += usize::from(found == *expected);
                }
            }
            num_equal += usize::from(damage == 0);
        }
    }
    assert!(num_equal > 3 && num_damaged > 300, "{num_equal}, {num_damaged}");
}
