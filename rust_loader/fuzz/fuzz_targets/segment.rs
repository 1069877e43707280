//! Any bytes as an audio file, after two numbers that say which part: a segment is the slice of the whole, or an error.
#![no_main]

use std::sync::atomic::{AtomicU64, Ordering};

use _rust_loader::decode::{decode, probe};
use _rust_loader::segments::decode_segment;
use _rust_loader::stream::Source;
use libfuzzer_sys::fuzz_target;
use musicgen_rust_loader_fuzz::let_decoders_panic;

/// What is learnt about a file is kept by its name, so that every input needs one of its own.
static INPUTS: AtomicU64 = AtomicU64::new(0);

fuzz_target!(init: let_decoders_panic(), |data: &[u8]| {
    let Some((place, data)) = data.split_first_chunk::<4>() else { return };
    let start = usize::from(u16::from_le_bytes([place[0], place[1]]));
    let count = usize::from(u16::from_le_bytes([place[2], place[3]]));
    let name = format!("fuzz-segment-{}-{}", std::process::id(), INPUTS.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, data).expect("the temporary folder is writable");
    let source = Source::File(&path);
    let part = decode_segment(source, start as u64, count as u64, false, &|| Ok(()));
    let whole = decode(source, &|| Ok(()));
    std::fs::remove_file(&path).expect("it was just written");
    let (Ok(part), Ok(whole)) = (part, whole) else { return };
    if probe(Source::Bytes { name: "fuzzed", data }, &|| Ok(())).is_ok_and(|info| info.codec == "aac") {
        return; // it may draw noise, which depends on where it began
    }
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
