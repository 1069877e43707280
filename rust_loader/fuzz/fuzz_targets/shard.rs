//! Any bytes as a token shard: it is refused, or indexed so that every code can be read.
#![no_main]

use _rust_loader::shard_index;
use _rust_loader::shard_read::TokenShards;
use libfuzzer_sys::fuzz_target;

const CODEC: &str = "0123456789abcdef0123456789abcdef";

fuzz_target!(|data: &[u8]| {
    let folder = std::env::temp_dir().join(format!("fuzz-shard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let (shard, index) = (folder.join("00000-of-00001.tar"), folder.join("index.bin"));
    std::fs::write(&shard, data).expect("the temporary folder is writable");
    if shard_index::write(&index, &[shard], CODEC, 2048, &|| Ok(())).is_ok() {
        let tokens = TokenShards::open(&index).expect("it was just written");
        tokens.verify(&|| Ok(())).expect("it was just written");
    }
});
