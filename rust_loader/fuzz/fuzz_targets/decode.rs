//! Any bytes as an audio file: whole decode, finite samples or a typed error that names the file.
#![no_main]

use _rust_loader::decode::decode;
use _rust_loader::stream::Source;
use libfuzzer_sys::fuzz_target;
use musicgen_rust_loader_fuzz::let_decoders_panic;

fuzz_target!(init: let_decoders_panic(), |data: &[u8]| {
    match decode(Source::Bytes { name: "fuzzed", data }, &|| Ok(())) {
        Ok(audio) => assert!(audio.samples.iter().all(|x| x.is_finite())),
        Err(error) => assert!(error.to_string().starts_with("fuzzed: ")),
    }
});
