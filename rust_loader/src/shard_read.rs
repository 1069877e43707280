//! Reading codes from memory-mapped shards through their index.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use crate::checked::Checked;
use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::hash::{self, Digest};
use crate::shard_index::{END_BYTES, HEADER_BYTES, Header, RECORD_BYTES, Record, Shard, map_file};

/// An open index. Shards are mapped when first read, and stay mapped.
pub struct TokenShards {
    path: PathBuf,
    map: Mmap,
    header: Header,
    shards: Vec<OpenShard>,
    checked: Checked,
}

struct OpenShard {
    entry: Shard,
    path: PathBuf,
    map: OnceLock<Mmap>,
}

impl TokenShards {
    /// Checks the index by its own digest, and the sizes of its shards. A track's codes are compared with their digest
    /// when they are first read; `verify` does that for all, and for whole shards.
    pub fn open(path: &Path) -> Result<Self> {
        let map = map_file(path)?;
        let header = Header::parse(&map).map_err(|message| Error::shard(path, message))?;
        let content = map.len() - END_BYTES; // a header is longer than that
        // Read, not mapped: a million records then leave no pages in this process's memory.
        if hash::of_start(path, content as u64)? != map[content..] {
            let message = "does not match the digest at its end: truncated or damaged; build the index again";
            return Err(Error::shard(path, message));
        }
        let table = usize::try_from(header.num_tracks)
            .ok()
            .and_then(|n| n.checked_mul(RECORD_BYTES)?.checked_add(HEADER_BYTES))
            .and_then(|begin| map.get(begin..content))
            .and_then(|bytes| Shard::parse_table(bytes, header.num_shards));
        let Some(table) = table else {
            let message = format!(
                "{} bytes do not hold {} tracks and {} shards; build the index again",
                map.len(),
                header.num_tracks,
                header.num_shards
            );
            return Err(Error::shard(path, message));
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut shards = Vec::with_capacity(table.len());
        for entry in table {
            let path = folder.join(&entry.name);
            let size = std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
            if size != entry.size {
                let message = format!("{size} bytes, the index says {}; build the index again", entry.size);
                return Err(Error::shard(&path, message));
            }
            shards.push(OpenShard { entry, path, map: OnceLock::new() });
        }
        let checked = Checked::none_of(header.num_tracks as usize);
        Ok(Self { path: path.to_owned(), map, header, shards, checked })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    pub fn num_tracks(&self) -> usize {
        self.header.num_tracks as usize
    }

    pub fn record(&self, track: usize) -> Record {
        let begin = HEADER_BYTES + track * RECORD_BYTES;
        Record::parse(&self.map[begin..begin + RECORD_BYTES])
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of the track with this key.
    pub fn find(&self, key: &str) -> Result<usize> {
        let row = hash::parse_hex(key).and_then(|key| self.row(&key));
        row.ok_or_else(|| Error::Key { name: self.path.display().to_string(), key: key.to_owned() })
    }

    /// Number of the track with this key, by binary search.
    pub fn row(&self, key: &Digest) -> Option<usize> {
        let (mut low, mut high) = (0, self.num_tracks());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(&key[..]) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn key(&self, track: usize) -> &[u8] {
        let begin = HEADER_BYTES + track * RECORD_BYTES;
        &self.map[begin..begin + 16]
    }

    /// The bytes of a track's codes, little-endian u16 [K, frames], and its frames.
    pub fn track_codes(&self, track: i64) -> Result<(&[u8], usize)> {
        let record = self.checked(track)?;
        Ok((self.codes(track as usize, &record)?, record.num_frames as usize))
    }

    /// Frames of a track from `start` to its end.
    pub fn frames_from(&self, track: i64, start: i64) -> Result<usize> {
        let start = check_start(start)?;
        Ok((self.checked(track)?.num_frames as usize).saturating_sub(start))
    }

    /// Frames `start ..` of a track into `out` [K, num_frames], whose tail beyond the track is left as it is; the
    /// number of frames that were there.
    pub fn read_into(&self, track: i64, start: i64, num_frames: usize, out: &mut [u16]) -> Result<usize> {
        let record = self.checked(track)?;
        let start = check_start(start)?;
        let total = record.num_frames as usize;
        let valid = total.saturating_sub(start).min(num_frames);
        if valid == 0 {
            return Ok(0);
        }
        let codes = self.codes(track as usize, &record)?;
        for (row, out) in codes.chunks_exact(total * 2).zip(out.chunks_exact_mut(num_frames)) {
            let bytes = &row[start * 2..(start + valid) * 2];
            for (code, pair) in out[..valid].iter_mut().zip(bytes.chunks_exact(2)) {
                *code = u16::from_le_bytes([pair[0], pair[1]]);
            }
        }
        Ok(valid)
    }

    /// Reads every byte: the digest of each shard and of each track's codes.
    pub fn verify(&self, interrupt: Interrupt<'_>) -> Result<()> {
        for shard in &self.shards {
            interrupt()?;
            let (found, expected) = (hash::of_bytes(shard.map()?), shard.entry.digest);
            if found != expected {
                let message = format!(
                    "digest {} where the index says {}; the shard was changed or damaged: tokenize again",
                    hash::hex(&found),
                    hash::hex(&expected)
                );
                return Err(Error::shard(&shard.path, message));
            }
        }
        let mut previous = None;
        for track in 0..self.num_tracks() {
            let record = self.checked(track as i64)?;
            let damaged = |what: &str| {
                Error::shard(
                    &self.path,
                    format!("row {track}: {} {what}; build the index again", hash::hex(&record.key)),
                )
            };
            if previous >= Some(record.key) {
                return Err(damaged("is out of order"));
            }
            self.check_codes(&record, self.mapped(&record)?)?;
            previous = Some(record.key);
        }
        Ok(())
    }

    fn checked(&self, track: i64) -> Result<Record> {
        match usize::try_from(track).ok().filter(|track| *track < self.num_tracks()) {
            Some(track) => Ok(self.record(track)),
            None => Err(Error::value(format!("{}: track {track} of {}", self.path.display(), self.num_tracks()))),
        }
    }

    fn check_codes(&self, record: &Record, codes: &[u8]) -> Result<()> {
        if hash::of_bytes(codes) == record.digest {
            return Ok(());
        }
        let message = format!(
            "byte {}: the codes of track {} are not those that were indexed; the shard was changed or damaged: tokenize again",
            record.offset,
            hash::hex(&record.key)
        );
        Err(Error::shard(&self.shards[record.shard as usize].path, message))
    }

    /// The bytes of a track's codes [K, frames], compared with their digest the first time.
    fn codes(&self, track: usize, record: &Record) -> Result<&[u8]> {
        let codes = self.mapped(record)?;
        self.checked.once(track, || self.check_codes(record, codes))?;
        Ok(codes)
    }

    /// The bytes that a record points to, unchecked.
    fn mapped(&self, record: &Record) -> Result<&[u8]> {
        let damaged = |what: &str| {
            let message = format!("track {} points to {what}; build the index again", hash::hex(&record.key));
            Error::shard(&self.path, message)
        };
        let shard = self.shards.get(record.shard as usize).ok_or_else(|| damaged("a shard that is not there"))?;
        let frames = u64::from(self.header.num_codebooks).checked_mul(u64::from(record.num_frames));
        let length = frames.and_then(|codes| codes.checked_mul(2));
        let end = length.and_then(|length| record.offset.checked_add(length)).ok_or_else(|| damaged("nowhere"))?;
        let map = shard.map()?;
        map.get(record.offset as usize..end as usize).ok_or_else(|| damaged("beyond its shard's end"))
    }
}

fn check_start(start: i64) -> Result<usize> {
    usize::try_from(start).map_err(|_| Error::value(format!("start is {start}; it must not be negative")))
}

impl OpenShard {
    fn map(&self) -> Result<&Mmap> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        let map = map_file(&self.path)?;
        if map.len() as u64 != self.entry.size {
            let message = format!("{} bytes, the index says {}; build the index again", map.len(), self.entry.size);
            return Err(Error::shard(&self.path, message));
        }
        Ok(self.map.get_or_init(|| map))
    }
}
