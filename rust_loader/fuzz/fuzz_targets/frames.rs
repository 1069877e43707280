//! Any bytes as frames of MPEG audio, layer III, and as one of FLAC: samples, all finite, or a refusal.
#![no_main]

use _rust_loader::flac_frame::FlacFrame;
use _rust_loader::mpeg_header::{Header, Layer};
use _rust_loader::mpeg_layer3::LayerThree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut flac = FlacFrame::default();
    for num_channels in 1..=2 {
        if flac.decode(data, num_channels, 16).is_some() {
            let mut samples = vec![0.0; flac.num_samples()];
            flac.copy_to(num_channels - 1, 0, &mut samples);
        }
    }
    let Some(first) = Header::parse(data).filter(|header| header.layer == Layer::Three) else { return };
    let (mut decoder, mut at) = (LayerThree::new(&first), 0);
    while let Some(header) = data.get(at..).and_then(Header::parse).filter(|header| header.is_like(&first)) {
        let Some(frame) = data.get(at..at + header.num_bytes) else { return };
        if decoder.decode(&header, frame).is_ok() {
            assert!((0..header.num_channels).all(|channel| decoder.samples(channel).iter().all(|x| x.is_finite())));
        }
        at += header.num_bytes;
    }
});
