//! Any bytes as a token index. Its digest at the end is made right, so that what lies behind that check is reached: all
//! that is read through it is inside its shards, or an error.
#![no_main]

use _rust_loader::hash;
use _rust_loader::shard_read::TokenShards;
use libfuzzer_sys::fuzz_target;

/// The shard that the seed index is of.
const SHARD: &[u8] = include_bytes!("../../tests/seeds/tokens/a.tar");

fuzz_target!(|data: &[u8]| {
    let folder = std::env::temp_dir().join(format!("fuzz-index-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let index = folder.join("index.bin");
    std::fs::write(folder.join("a.tar"), SHARD).expect("the temporary folder is writable");
    let bytes = [data, &hash::of_bytes(data)].concat();
    std::fs::write(&index, bytes).expect("the temporary folder is writable");
    let Ok(tokens) = TokenShards::open(&index) else { return };
    for track in 0..tokens.num_tracks().min(50) {
        let mut codes = [0; 64];
        let num_frames = codes.len() / (tokens.header().num_codebooks as usize).clamp(1, codes.len());
        let _ = tokens.read_into(track as i64, 0, num_frames, &mut codes);
    }
    let _ = tokens.verify(&|| Ok(()));
});
