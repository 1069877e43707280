//! Any bytes as an audio file, after two numbers that say which part: a segment is the slice of the whole, or an error.
#![no_main]

use _rust_loader::decode::decode;
use _rust_loader::segments::decode_segment;
use _rust_loader::stream::Source;
use libfuzzer_sys::fuzz_target;
use musicgen_rust_loader_fuzz::let_decoders_panic;

fuzz_target!(init: let_decoders_panic(), |data: &[u8]| {
    let Some((place, data)) = data.split_first_chunk::<4>() else { return };
    let start = usize::from(u16::from_le_bytes([place[0], place[1]]));
    let count = usize::from(u16::from_le_bytes([place[2], place[3]]));
    let source = Source::Bytes { name: "fuzzed", data };
    let part = decode_segment(source, start as u64, count as u64, false, &|| Ok(()));
    let (Ok(part), Ok(whole)) = (part, decode(source, &|| Ok(()))) else { return };
    let (lo, hi) = (start.min(whole.num_samples()), (start + count).min(whole.num_samples()));
    assert_eq!((part.num_channels, part.num_samples()), (whole.num_channels, hi - lo));
    if lo == hi {
        return;
    }
    let rows = whole.samples.chunks_exact(whole.num_samples()).map(|row| &row[lo..hi]);
    for (a, b) in rows.zip(part.samples.chunks_exact(hi - lo)) {
        assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
});
