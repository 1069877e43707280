//! The token index: which tar shard holds which track's codes, and where. Little-endian, made to be mapped:
//!
//! ```text
//! header (64)   magic "MGTOKIDX", u32 version, u32 num_shards, u64 num_tracks, u32 num_codebooks, u32 card,
//!               32 ASCII digits of the codec's digest
//! track (48)    16 B key, u32 shard, u32 frames, u64 offset of the first code byte, 16 B digest of the code bytes;
//!               sorted by key
//! shard         u64 size, 16 B digest, u16 name length, UTF-8 name relative to the index's folder
//! end (16)      digest of all bytes before it
//! ```

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::hash::{self, Digest};
use crate::npy;

pub const MAGIC: &[u8; 8] = b"MGTOKIDX";
pub const VERSION: u32 = 2;
pub const HEADER_BYTES: usize = 64;
pub const RECORD_BYTES: usize = 48;
pub const END_BYTES: usize = size_of::<Digest>();
const CODES_SUFFIX: &str = ".codes.npy";

#[derive(Clone, Copy)]
pub struct Header {
    pub num_shards: u32,
    pub num_tracks: u64,
    pub num_codebooks: u32,
    pub card: u32,
    pub codec_digest: Digest,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.num_shards.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.num_tracks.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.num_codebooks.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.card.to_le_bytes());
        bytes[32..].copy_from_slice(hash::hex(&self.codec_digest).as_bytes());
        bytes
    }

    /// Reads a header; the message says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
            return Err("not a token index".to_owned());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!("token index of version {version}, this code reads {VERSION}; build the index again"));
        }
        let digest = std::str::from_utf8(&bytes[32..64]).ok().and_then(hash::parse_hex);
        Ok(Self {
            num_shards: u32_at(bytes, 12),
            num_tracks: u64_at(bytes, 16),
            num_codebooks: u32_at(bytes, 24),
            card: u32_at(bytes, 28),
            codec_digest: digest.ok_or("the codec's digest is not 32 hex digits")?,
        })
    }
}

#[derive(Clone, Copy)]
pub struct Record {
    pub key: Digest,
    pub shard: u32,
    pub num_frames: u32,
    pub offset: u64,
    pub digest: Digest,
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..16].copy_from_slice(&self.key);
        bytes[16..20].copy_from_slice(&self.shard.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.num_frames.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..].copy_from_slice(&self.digest);
        bytes
    }

    pub fn parse(bytes: &[u8]) -> Self {
        Self {
            key: bytes[..16].try_into().expect("16 bytes"),
            shard: u32_at(bytes, 16),
            num_frames: u32_at(bytes, 20),
            offset: u64_at(bytes, 24),
            digest: bytes[32..48].try_into().expect("16 bytes"),
        }
    }
}

/// A line of the shard table.
pub struct Shard {
    pub size: u64,
    pub digest: Digest,
    pub name: String,
}

impl Shard {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.size.to_le_bytes());
        out.extend(self.digest);
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(self.name.as_bytes());
    }

    /// The table's `count` lines, which must fill `bytes`.
    pub fn parse_table(mut bytes: &[u8], count: u32) -> Option<Vec<Self>> {
        let mut shards = Vec::new();
        for _ in 0..count {
            let length = usize::from(u16::from_le_bytes(bytes.get(24..26)?.try_into().ok()?));
            shards.push(Self {
                size: u64_at(bytes, 0),
                digest: bytes[8..24].try_into().ok()?,
                name: std::str::from_utf8(bytes.get(26..26 + length)?).ok()?.to_owned(),
            });
            bytes = &bytes[26 + length..];
        }
        bytes.is_empty().then_some(shards)
    }
}

/// Scans the shards and writes their index, atomically. Every array must be uint16 [K, T] with codes below `card` and
/// the same K; every key must be unique. The order of `shards` does not matter: the table is sorted by name.
pub fn write(
    out: &Path,
    shards: &[PathBuf],
    codec_digest: &str,
    card: u32,
    interrupt: crate::decode::Interrupt<'_>,
) -> Result<()> {
    let codec_digest = hash::parse_hex(codec_digest)
        .ok_or_else(|| Error::value(format!("codec_digest is {codec_digest:?}; it must be 32 hex digits")))?;
    if card == 0 || card > 1 << 16 {
        return Err(Error::value(format!("card is {card}; uint16 codes need 1..=65536")));
    }
    let folder = absolute(out.parent().unwrap_or(Path::new("")))?;
    let mut named: Vec<(String, &PathBuf)> =
        shards.iter().map(|path| Ok((relative(&absolute(path)?, &folder)?, path))).collect::<Result<_>>()?;
    named.sort();
    let (mut table, mut records, mut num_codebooks) = (Vec::new(), Vec::new(), 0);
    for (shard, (name, path)) in named.into_iter().enumerate() {
        interrupt()?;
        let scanned = scan(path, shard as u32, card, &mut num_codebooks, &mut records)?;
        table.push(Shard { name, ..scanned });
    }
    records.sort_by_key(|record: &Record| record.key);
    if let Some(pair) = records.windows(2).find(|pair| pair[0].key == pair[1].key) {
        let names = [pair[0], pair[1]].map(|record| table[record.shard as usize].name.clone());
        let message = format!("track {} is in {} and again in {}", hash::hex(&pair[0].key), names[0], names[1]);
        return Err(Error::shard(out, message));
    }
    let header =
        Header { num_shards: table.len() as u32, num_tracks: records.len() as u64, num_codebooks, card, codec_digest };
    let mut bytes = header.to_bytes().to_vec();
    records.iter().for_each(|record| bytes.extend(record.to_bytes()));
    table.iter().for_each(|shard| shard.write(&mut bytes));
    bytes.extend(hash::of_bytes(&bytes));
    write_atomically(out, &bytes).map_err(|e| Error::io(out, e))
}

/// Adds the tracks of one tar to `records`.
fn scan(path: &Path, shard: u32, card: u32, num_codebooks: &mut u32, records: &mut Vec<Record>) -> Result<Shard> {
    let map = map_file(path)?;
    let mut reached = 0;
    let bad = |reached: u64, e: std::io::Error| {
        Error::shard(path, format!("not a readable tar, in the member at byte {reached}: {e}"))
    };
    if map.len() < 1024 || map[map.len() - 1024..].iter().any(|byte| *byte != 0) {
        return Err(Error::shard(path, "no end-of-archive marker: not a tar, or truncated"));
    }
    let mut archive = tar::Archive::new(Cursor::new(&map[..]));
    for entry in archive.entries().map_err(|e| bad(0, e))? {
        let entry = entry.map_err(|e| bad(reached, e))?;
        let header_at = entry.raw_header_position();
        reached = entry.raw_file_position().saturating_add(entry.size());
        let member = entry.path().map_err(|e| bad(header_at, e))?.to_string_lossy().into_owned();
        let fail = |message: String| Error::shard(path, format!("byte {header_at}, member {member:?}: {message}"));
        let Some(key) = member.strip_suffix(CODES_SUFFIX) else { continue };
        let key = hash::parse_hex(key).ok_or_else(|| fail("the key is not 32 hex digits".to_owned()))?;
        let begin = entry.raw_file_position() as usize;
        let end = begin.checked_add(entry.size() as usize).filter(|end| *end <= map.len());
        let end = end.ok_or_else(|| fail("reaches beyond the file's end".to_owned()))?;
        let array = npy::parse_u16(&map[begin..end]).map_err(fail)?;
        let [k, num_frames] = array.shape;
        if *num_codebooks == 0 {
            *num_codebooks = k;
        } else if *num_codebooks != k {
            return Err(fail(format!("{k} codebooks where the others have {num_codebooks}")));
        }
        let codes = &map[begin + array.offset..end];
        let largest = codes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).max().unwrap_or(0);
        if u32::from(largest) >= card {
            return Err(fail(format!("code {largest} is not below the codec's card {card}")));
        }
        let offset = (begin + array.offset) as u64;
        records.push(Record { key, shard, num_frames, offset, digest: hash::of_bytes(codes) });
    }
    Ok(Shard { size: map.len() as u64, digest: hash::of_bytes(&map), name: String::new() })
}

/// Maps a file for reading. Nobody may shorten it while it is mapped: shards and indexes are replaced by renaming, never
/// rewritten in place.
pub fn map_file(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    if !file.metadata().map_err(|e| Error::io(path, e))?.is_file() {
        return Err(Error::shard(path, "not a regular file"));
    }
    // SAFETY: see above; the project never writes into an existing shard or index.
    unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))
}

/// Beside the target, flushed, renamed.
pub fn write_atomically(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = out.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = out.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| std::fs::rename(&temporary, out));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&temporary); // the first error is the one to report
    }
    renamed
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut normal = PathBuf::new();
    for part in std::path::absolute(path).map_err(|e| Error::io(path, e))?.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    Ok(normal)
}

/// `path` as seen from `folder`; both absolute and without `..`.
fn relative(path: &Path, folder: &Path) -> Result<String> {
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    let name: PathBuf = up.chain(path.components().skip(shared)).collect();
    let name = name.to_str().ok_or_else(|| Error::shard(path, "the path is not UTF-8"))?;
    if name.is_empty() || name.len() > usize::from(u16::MAX) {
        return Err(Error::shard(path, format!("a path of {} bytes cannot be indexed", name.len())));
    }
    Ok(name.to_owned())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_index() {
        let relative = |path: &str, folder: &str| relative(Path::new(path), Path::new(folder)).unwrap();
        assert_eq!(relative("/a/b/c.tar", "/a/b"), "c.tar");
        assert_eq!(relative("/a/x/c.tar", "/a/b"), "../x/c.tar");
        assert_eq!(absolute(Path::new("/a/../b/./c")).unwrap(), Path::new("/b/c"));
    }

    #[test]
    fn records_survive_a_round_trip() {
        let record = Record { key: [7; 16], shard: 3, num_frames: 1500, offset: 1 << 40, digest: [9; 16] };
        let back = Record::parse(&record.to_bytes());
        assert_eq!((back.key, back.shard, back.num_frames, back.offset), ([7; 16], 3, 1500, 1 << 40));
    }
}
