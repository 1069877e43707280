//! Where encoded bytes come from: a file, part of a file (a member of a tar), or memory.

use std::fs::{File, Metadata};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use symphonia::core::io::MediaSource;

use crate::error::{Error, Result};

#[derive(Clone, Copy)]
pub enum Source<'s> {
    File(&'s Path),
    /// `num_bytes` of a file from `offset`; `name` is what errors call them.
    Part {
        path: &'s Path,
        name: &'s str,
        offset: u64,
        num_bytes: u64,
    },
    Bytes {
        name: &'s str,
        data: &'s [u8],
    },
}

impl<'s> Source<'s> {
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Part { name, .. } | Self::Bytes { name, .. } => (*name).to_owned(),
        }
    }

    /// The byte source and its length.
    pub fn open(&self) -> Result<(Box<dyn MediaSource + 's>, u64)> {
        match self {
            Self::File(path) => open_file(path).map(|(file, metadata)| (Box::new(file) as _, metadata.len())),
            Self::Part { offset, num_bytes, .. } => {
                let file = self.open_part()?;
                Ok((Box::new(Part { file, offset: *offset, num_bytes: *num_bytes, at: 0 }), *num_bytes))
            }
            Self::Bytes { data, .. } => Ok((Box::new(Cursor::new(*data)), data.len() as u64)),
        }
    }

    /// The file that a part is of. Corrupt when it ends before the part does.
    pub fn open_part(&self) -> Result<File> {
        let Self::Part { path, name, offset, num_bytes } = self else { unreachable!("only parts have a whole") };
        let (file, metadata) = open_file(path)?;
        if offset.checked_add(*num_bytes).is_none_or(|end| end > metadata.len()) {
            let have = metadata.len();
            return Err(Error::corrupt(
                name,
                format!("{num_bytes} bytes at {offset} of {}, which has {have}: cut short", path.display()),
            ));
        }
        Ok(file)
    }
}

/// Part of a file, read as a file of its own.
struct Part {
    file: File,
    offset: u64,
    num_bytes: u64,
    at: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.num_bytes - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..count], self.offset + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => i128::from(at),
            SeekFrom::End(by) => i128::from(self.num_bytes) + i128::from(by),
            SeekFrom::Current(by) => i128::from(self.at) + i128::from(by),
        };
        if at < 0 {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        self.at = u64::try_from(at).unwrap_or(u64::MAX).min(self.num_bytes);
        Ok(self.at)
    }
}

impl MediaSource for Part {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.num_bytes)
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
