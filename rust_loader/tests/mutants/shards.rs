//! Damaged tars, arrays and indexes: an error, or exactly the codes that were written.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use _rust_loader::error::{Error, Result};
use _rust_loader::shard_read::TokenShards;
use _rust_loader::{hash, npy, shard_index};

use crate::allocator::peak_bytes;
use crate::mutate::Random;

const CARD: u32 = 64;
const CODEC: &str = "0123456789abcdef0123456789abcdef";
const NUM_CODEBOOKS: usize = 4;
/// The files are below 20 kB and mapped; what is allocated are tables and the codes that are read.
const MAX_LIVE_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A shard that changed after it was indexed.
    ChangedShard,
    /// A shard that is damaged before it is indexed.
    Tar,
    Index,
    Npy,
}

pub const KINDS: [Kind; 4] = [Kind::ChangedShard, Kind::Tar, Kind::Index, Kind::Npy];

/// A good shard and its index, in memory.
pub struct Intact {
    tar: Vec<u8>,
    index: Vec<u8>,
    npy: Vec<u8>,
    codes: HashMap<String, Vec<u16>>,
}

impl Intact {
    pub fn make() -> Self {
        let mut random = Random::new(7, 7);
        let (mut tar, mut codes, mut last) = (tar::Builder::new(Vec::new()), HashMap::new(), Vec::new());
        for track in 0..4u8 {
            let key = hash::hex(&hash::of_bytes(&[track]));
            let values: Vec<u16> = (0..NUM_CODEBOOKS * (5 + 40 * usize::from(track)))
                .map(|_| random.below(CARD as usize) as u16)
                .collect();
            last = npy_file(&values);
            append(&mut tar, &format!("{key}.codes.npy"), &last);
            append(&mut tar, &format!("{key}.json"), format!("{{\"key\": \"{key}\"}}").as_bytes());
            codes.insert(key, values);
        }
        let tar = tar.into_inner().expect("memory takes everything");
        let folder = Folder::new();
        std::fs::write(folder.shard(), &tar).expect("writable");
        shard_index::write(&folder.index(), &[folder.shard()], CODEC, CARD, &|| Ok(())).expect("a good shard");
        Self { tar, index: std::fs::read(folder.index()).expect("just written"), npy: last, codes }
    }

    pub fn seed(&self, kind: Kind) -> &[u8] {
        match kind {
            Kind::Index => &self.index,
            Kind::Npy => &self.npy,
            Kind::Tar | Kind::ChangedShard => &self.tar,
        }
    }

    /// Whether the mutant was read; the message says what does not hold.
    pub fn check(&self, kind: Kind, data: &[u8]) -> std::result::Result<bool, String> {
        let (result, peak) = peak_bytes(|| self.read(kind, data));
        if peak > MAX_LIVE_BYTES {
            return Err(format!("{peak} bytes were live"));
        }
        result
    }

    fn read(&self, kind: Kind, data: &[u8]) -> std::result::Result<bool, String> {
        if kind == Kind::Npy {
            return Ok(npy::parse_u16(data).is_ok_and(|array| {
                let [k, t] = array.shape.map(|n| n as usize);
                assert_eq!(array.offset + k * t * 2, data.len(), "codes must fill the file");
                true
            }));
        }
        let folder = Folder::new();
        let (shard, index) = if kind == Kind::Index { (&self.tar[..], data) } else { (data, &self.index[..]) };
        std::fs::write(folder.shard(), shard).map_err(|e| e.to_string())?;
        if kind == Kind::Tar {
            let written = shard_index::write(&folder.index(), &[folder.shard()], CODEC, CARD, &|| Ok(()));
            if !typed(&folder, written.map(|()| true))? {
                return Ok(false);
            }
            let read = TokenShards::open(&folder.index()).and_then(|tokens| tokens.verify(&|| Ok(())));
            return read.map(|()| true).map_err(|e| format!("indexed, and then not readable: {e}"));
        }
        std::fs::write(folder.index(), index).map_err(|e| e.to_string())?;
        let verified = TokenShards::open(&folder.index()).and_then(|tokens| tokens.verify(&|| Ok(())).map(|()| true));
        let verified = typed(&folder, verified)?;
        let Ok(tokens) = TokenShards::open(&folder.index()) else { return Ok(false) };
        let mut all_read = true;
        for (key, expected) in &self.codes {
            let mut codes = vec![0; expected.len()];
            let read = tokens
                .find(key)
                .and_then(|track| tokens.read_into(track as i64, 0, expected.len() / NUM_CODEBOOKS, &mut codes));
            let read = match read {
                Err(Error::Key { .. }) if kind == Kind::Index => false,
                read => typed(&folder, read.map(|_| true))?,
            };
            if read && codes != *expected {
                return Err(format!("track {key} is silently different"));
            }
            if verified && !read {
                return Err(format!("verified, but track {key} cannot be read"));
            }
            all_read &= read;
        }
        Ok(all_read)
    }
}

/// False for an error that names one of the files, and is of the right kind.
fn typed(folder: &Folder, result: Result<bool>) -> std::result::Result<bool, String> {
    match result {
        Ok(value) => Ok(value),
        Err(error @ (Error::Shard { .. } | Error::Io { .. })) => {
            let message = error.to_string();
            let named = message.starts_with(&folder.0.display().to_string());
            if named { Ok(false) } else { Err(format!("the error names no file: {message}")) }
        }
        Err(other) => Err(format!("{other:?}")),
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, data).expect("memory takes everything");
}

fn npy_file(codes: &[u16]) -> Vec<u8> {
    let num_frames = codes.len() / NUM_CODEBOOKS;
    let header = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': ({NUM_CODEBOOKS}, {num_frames}), }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.write_all(header.as_bytes()).expect("memory takes everything");
    bytes.extend(codes.iter().flat_map(|code| code.to_le_bytes()));
    bytes
}

/// A folder of one thread's own, emptied at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{thread}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the target folder is writable");
        Self(path)
    }

    fn shard(&self) -> PathBuf {
        self.0.join("00000-of-00001.tar")
    }

    fn index(&self) -> PathBuf {
        self.0.join("index.bin")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // of a test that is over
    }
}
