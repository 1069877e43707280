//! Any bytes as an audio file: probe, which reads headers and tags and walks packets.
#![no_main]

use _rust_loader::decode::probe;
use _rust_loader::stream::Source;
use libfuzzer_sys::fuzz_target;
use musicgen_rust_loader_fuzz::let_decoders_panic;

fuzz_target!(init: let_decoders_panic(), |data: &[u8]| {
    match probe(Source::Bytes { name: "fuzzed", data }, &|| Ok(())) {
        Ok(info) => assert!(info.tags.iter().all(|(name, value)| !name.is_empty() && value.len() <= 4096)),
        Err(error) => assert!(error.to_string().starts_with("fuzzed: ")),
    }
});
