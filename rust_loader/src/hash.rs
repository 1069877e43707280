//! Content digests: the first 16 bytes of BLAKE3.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::watch::watched;

pub type Digest = [u8; 16];

const MAX_THREADS: usize = 1024;

/// Between two looks at whether the caller was interrupted: some milliseconds.
const BLOCK_BYTES: usize = 1 << 24;

pub fn of_bytes(data: &[u8]) -> Digest {
    shorten(blake3::hash(data))
}

/// `of_bytes` of bytes that may be many.
pub fn of_many_bytes(data: &[u8], interrupt: Interrupt<'_>) -> Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    for block in data.chunks(BLOCK_BYTES) {
        interrupt()?;
        hasher.update(block);
    }
    Ok(shorten(hasher.finalize()))
}

pub fn of_file(path: &Path, interrupt: Interrupt<'_>) -> Result<Digest> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        interrupt()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(shorten(hasher.finalize())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io(path, e)),
        };
    }
}

/// Of the first bytes of a file.
pub fn of_start(path: &Path, num_bytes: u64) -> Result<Digest> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut file.take(num_bytes), &mut hasher).map_err(|e| Error::io(path, e))?;
    Ok(shorten(hasher.finalize()))
}

/// One result per path, in order, on a pool of this call's own (a global one would not survive a fork).
pub fn of_files(paths: &[PathBuf], num_threads: usize, interrupt: Interrupt<'_>) -> Result<Vec<Result<Digest>>> {
    if num_threads > MAX_THREADS {
        return Err(Error::value(format!("num_threads is {num_threads}; at most {MAX_THREADS} are started")));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(num_threads)
        .build()
        .map_err(|e| Error::value(format!("cannot start {num_threads} threads: {e}")))?;
    watched(interrupt, |asked| {
        let digests = pool.install(|| paths.par_iter().map(|path| of_file(path, asked)).collect());
        asked()?; // else every digest after the interrupt would be an error of its own
        Ok(digests)
    })
}

pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 16 bytes of 32 lower-case hex digits.
pub fn parse_hex(text: &str) -> Option<Digest> {
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(|d| d.is_ascii_digit() || (b'a'..=b'f').contains(d)) {
        return None;
    }
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

fn shorten(hash: blake3::Hash) -> Digest {
    hash.as_bytes()[..16].try_into().expect("a BLAKE3 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bytes_in_blocks_and_an_interrupt_between_them() {
        for len in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 5] {
            let data = vec![7; len];
            assert_eq!(of_many_bytes(&data, &|| Ok(())).unwrap(), of_bytes(&data));
        }
        let stopped = of_many_bytes(&[7], &|| Err(Error::Interrupted));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }

    #[test]
    fn hex_round_trip_and_refusals() {
        let digest = of_bytes(b"");
        assert_eq!(hex(&digest), "af1349b9f5f9a1a6a0404dea36dcc949");
        assert_eq!(parse_hex(&hex(&digest)), Some(digest));
        for bad in ["", "af", "AF1349B9F5F9A1A6A0404DEA36DCC949", "zf1349b9f5f9a1a6a0404dea36dcc949"] {
            assert_eq!(parse_hex(bad), None);
        }
    }
}
