//! Bytes of a file by position: a buffer that moves through it. Not a memory map, since a file that shrinks under one
//! kills the process.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::error::{Error, Result};
use crate::stream::{Source, open_file};

/// Read at once; stays in the processor's cache.
const CHUNK_BYTES: usize = 1 << 16;

pub struct Bytes<'s> {
    pub name: String,
    pub len: u64,
    from: From<'s>,
}

enum From<'s> {
    /// `first`: where in the file position 0 is. Parts of files have no version.
    File {
        file: File,
        first: u64,
        buffer: Vec<u8>,
        begin: u64,
        version: Option<Version>,
    },
    Memory(&'s [u8]),
}

/// What a file is known by: the same one, not written to since.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version([i128; 4]);

impl Version {
    /// When the file or its owner, name or rights changed, since 1970.
    pub fn changed_ns(self) -> u64 {
        u64::try_from(self.0[3]).unwrap_or(u64::MAX)
    }
}

impl<'s> Bytes<'s> {
    pub fn open(source: Source<'s>) -> Result<Self> {
        let name = source.name();
        match source {
            Source::Bytes { data, .. } => Ok(Self { name, len: data.len() as u64, from: From::Memory(data) }),
            Source::File(path) => {
                let (file, metadata) = open_file(path)?;
                let stamp = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
                let version = Version([
                    i128::from(metadata.len()),
                    i128::from(metadata.dev()) << 64 | i128::from(metadata.ino()),
                    stamp(metadata.mtime(), metadata.mtime_nsec()),
                    stamp(metadata.ctime(), metadata.ctime_nsec()),
                ]);
                let from = From::File { file, first: 0, buffer: Vec::new(), begin: 0, version: Some(version) };
                Ok(Self { name, len: metadata.len(), from })
            }
            Source::Part { offset, num_bytes, .. } => {
                let file = source.open_part()?;
                let from = From::File { file, first: offset, buffer: Vec::new(), begin: 0, version: None };
                Ok(Self { name, len: num_bytes, from })
            }
        }
    }

    /// None for bytes in memory and for parts of files.
    pub fn version(&self) -> Option<Version> {
        match &self.from {
            From::File { version, .. } => *version,
            From::Memory(_) => None,
        }
    }

    /// The `count` bytes at `at`; fewer where the file ends.
    pub fn get(&mut self, at: u64, count: usize) -> Result<&[u8]> {
        let at = at.min(self.len);
        let count = count.min(usize::try_from(self.len - at).unwrap_or(usize::MAX));
        let (data, begin) = match &mut self.from {
            From::Memory(data) => (*data, 0),
            From::File { file, first, buffer, begin, .. } => {
                if at < *begin || at + count as u64 > *begin + buffer.len() as u64 {
                    fill(file, buffer, *first + at, count.max(CHUNK_BYTES))
                        .map_err(|source| Error::Io { name: self.name.clone(), source })?;
                    *begin = at;
                }
                (buffer.as_slice(), *begin)
            }
        };
        let from = (at - begin) as usize;
        Ok(&data[from..data.len().min(from + count)])
    }

    /// Whether these bytes are at `at`.
    pub fn has(&mut self, at: u64, expected: &[u8]) -> Result<bool> {
        Ok(self.get(at, expected.len())? == expected)
    }
}

/// `count` bytes of the file from `at`, fewer at its end.
fn fill(file: &File, buffer: &mut Vec<u8>, at: u64, count: usize) -> std::io::Result<()> {
    buffer.resize(count, 0);
    let mut have = 0;
    while have < count {
        match file.read_at(&mut buffer[have..], at + have as u64) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                buffer.clear();
                return Err(error);
            }
        }
    }
    buffer.truncate(have);
    Ok(())
}
