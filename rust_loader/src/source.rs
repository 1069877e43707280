//! Where encoded bytes come from: a file, or memory.

use std::fs::{File, Metadata};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::io::MediaSource;

use crate::error::{Error, Result};

#[derive(Clone, Copy)]
pub enum Source<'s> {
    File(&'s Path),
    Bytes { name: &'s str, data: &'s [u8] },
}

impl<'s> Source<'s> {
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes { name, .. } => (*name).to_owned(),
        }
    }

    /// The byte source and its length.
    pub fn open(&self) -> Result<(Box<dyn MediaSource + 's>, u64)> {
        match self {
            Self::File(path) => open_file(path).map(|(file, metadata)| (Box::new(file) as _, metadata.len())),
            Self::Bytes { data, .. } => Ok((Box::new(Cursor::new(*data)), data.len() as u64)),
        }
    }
}

/// A regular file.
pub fn open_file(path: &Path) -> Result<(File, Metadata)> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io(path, e))?;
    if metadata.is_dir() {
        return Err(Error::io(path, std::io::Error::from_raw_os_error(21))); // EISDIR
    }
    if !metadata.is_file() {
        return Err(Error::unsupported(&path.display().to_string(), "not a regular file"));
    }
    Ok((file, metadata))
}

/// Length of the ID3v2 tag at the start, 0 when there is none; leaves the source at its start.
pub fn id3v2_bytes(media: &mut Box<dyn MediaSource + '_>) -> std::io::Result<u64> {
    let mut head = [0u8; 10];
    let found = media.read_exact(&mut head).is_ok() && head.starts_with(b"ID3");
    media.seek(SeekFrom::Start(0))?;
    let size = head[6..].iter().fold(0u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
    Ok(if found { 10 + size } else { 0 })
}
