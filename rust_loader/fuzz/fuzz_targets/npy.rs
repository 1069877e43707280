//! Any bytes as a .npy file: what is accepted is filled exactly.
#![no_main]

use _rust_loader::npy::parse_u16;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(array) = parse_u16(data) {
        let [num_codebooks, num_frames] = array.shape.map(|n| n as usize);
        assert_eq!(array.offset + 2 * num_codebooks * num_frames, data.len());
    }
});
