//! The tracks of one manifest as a table made to be mapped: what sampling needs, and where each track's line is. It lies
//! beside its manifest (`train.jsonl`, `train.tracks`). Little-endian:
//!
//! ```text
//! header (64)   magic "MGTRACKS", u32 version, u32 1 if all weights are equal, u64 num_tracks, u64 bytes of the manifest,
//!               u64 samples of all tracks, u64 samples of the longest, 16 B digest of the manifest
//! columns       16 B key; u64 end of the line in the manifest; u64 samples; f64 sum of the weights up to and with this
//!               track; f64 the same of weight x samples; each column num_tracks long, in the order of the manifest
//! ```

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::hash::{self, Digest};
use crate::shard_index::{map_file, write_atomically};

const MAGIC: &[u8; 8] = b"MGTRACKS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const TRACK_BYTES: usize = 16 + 4 * 8;
const REMEDY: &str = "make it again (the manifest stage does)";

/// What a track's chance of being drawn grows with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chance {
    Equal,
    Weight,
    /// Weight x length.
    Duration,
}

/// An open table. Its manifest is mapped when a line is first read.
pub struct TrackList {
    table: PathBuf,
    manifest: PathBuf,
    map: Mmap,
    num_tracks: usize,
    lines: OnceLock<Mmap>,
}

impl TrackList {
    /// Opens the table of a manifest: O(1), whatever the number of tracks.
    pub fn open(manifest: &Path) -> Result<Self> {
        let table = table_path(manifest);
        let map = map_file(&table)?;
        let bad = |message: String| Error::shard(&table, format!("{message}; {REMEDY}"));
        if map.len() < HEADER_BYTES || &map[..8] != MAGIC {
            return Err(bad("not a table of tracks".to_owned()));
        }
        let version = u32::from_le_bytes(map[8..12].try_into().expect("4 bytes"));
        if version != VERSION {
            return Err(bad(format!("a table of version {version}, this code reads {VERSION}")));
        }
        let num_tracks = usize::try_from(u64_at(&map, 16)).unwrap_or(usize::MAX);
        if num_tracks.checked_mul(TRACK_BYTES).and_then(|n| n.checked_add(HEADER_BYTES)) != Some(map.len()) {
            return Err(bad(format!("{} bytes do not hold {num_tracks} tracks", map.len())));
        }
        let size = std::fs::metadata(manifest).map_err(|e| Error::io(manifest, e))?.len();
        if size != u64_at(&map, 24) {
            let message = format!("made from {} bytes, {} has {size}", u64_at(&map, 24), manifest.display());
            return Err(bad(message));
        }
        let manifest = manifest.to_owned();
        Ok(Self { manifest, map, num_tracks, lines: OnceLock::new(), table })
    }

    pub fn num_tracks(&self) -> usize {
        self.num_tracks
    }

    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    pub fn total_samples(&self) -> u64 {
        u64_at(&self.map, 32)
    }

    pub fn longest_samples(&self) -> u64 {
        u64_at(&self.map, 40)
    }

    /// Digest of the manifest that the table was made from.
    pub fn manifest_digest(&self) -> Digest {
        self.map[48..64].try_into().expect("16 bytes")
    }

    /// The weight that all tracks have, if they have one.
    pub fn equal_weight(&self) -> Option<f64> {
        let equal = self.map[12..16] == 1u32.to_le_bytes();
        (equal && self.num_tracks > 0).then(|| self.sum(Chance::Weight, 0))
    }

    pub fn key(&self, track: usize) -> Digest {
        let begin = HEADER_BYTES + track * 16;
        self.map[begin..begin + 16].try_into().expect("16 bytes")
    }

    pub fn num_samples(&self, track: usize) -> u64 {
        self.column(1, track)
    }

    /// Sum of the chances of the tracks up to and with this one.
    pub fn sum(&self, chance: Chance, track: usize) -> f64 {
        match chance {
            Chance::Equal => (track + 1) as f64,
            Chance::Weight => f64::from_bits(self.column(2, track)),
            Chance::Duration => f64::from_bits(self.column(3, track)),
        }
    }

    pub fn total(&self, chance: Chance) -> f64 {
        if self.num_tracks == 0 { 0.0 } else { self.sum(chance, self.num_tracks - 1) }
    }

    /// First track whose sum exceeds `target`; a track without a chance is never chosen.
    pub fn choose(&self, chance: Chance, target: f64) -> usize {
        let at = self.first(|track| self.sum(chance, track) > target);
        let total = self.total(chance);
        // Rounding may leave the target at the total: then the last track that has a chance.
        if at < self.num_tracks { at } else { self.first(|track| self.sum(chance, track) >= total) }
    }

    /// The bytes of a track's line in the manifest.
    pub fn line(&self, track: usize) -> Result<&[u8]> {
        let begin = if track == 0 { 0 } else { self.column(0, track - 1) as usize };
        let lines = match self.lines.get() {
            Some(lines) => lines,
            None => {
                let map = map_file(&self.manifest)?;
                self.lines.get_or_init(|| map)
            }
        };
        lines.get(begin..self.column(0, track) as usize).ok_or_else(|| {
            let message = format!("line {} is not in {}; {REMEDY}", track + 1, self.manifest.display());
            Error::shard(&self.table, message)
        })
    }

    /// Number of tracks before the first for which `is` holds; it holds for all after that one.
    fn first(&self, is: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.num_tracks);
        while low < high {
            let middle = low + (high - low) / 2;
            if is(middle) { high = middle } else { low = middle + 1 }
        }
        low
    }

    fn column(&self, column: usize, track: usize) -> u64 {
        u64_at(&self.map, HEADER_BYTES + self.num_tracks * (16 + 8 * column) + track * 8)
    }
}

/// What the table says of each track, in the order of the manifest's lines.
pub struct Columns<'a> {
    pub keys: &'a [Digest],
    pub num_samples: &'a [i64],
    pub weights: &'a [f64],
}

/// Writes the table of a manifest beside it, atomically.
pub fn write(manifest: &Path, columns: &Columns<'_>) -> Result<()> {
    let map = map_file(manifest)?;
    let ends = line_ends(&map);
    let num_tracks = columns.keys.len();
    if [ends.len(), columns.num_samples.len(), columns.weights.len()].iter().any(|len| *len != num_tracks) {
        let message = format!(
            "{num_tracks} keys, {} lengths, {} weights for {} lines of {}",
            columns.num_samples.len(),
            columns.weights.len(),
            ends.len(),
            manifest.display()
        );
        return Err(Error::value(message));
    }
    let wrong =
        |track: usize, what: String| Err(Error::value(format!("{}, line {}: {what}", manifest.display(), track + 1)));
    let (mut weight_sums, mut duration_sums) = (Vec::with_capacity(num_tracks), Vec::with_capacity(num_tracks));
    let (mut weight_sum, mut duration_sum) = (0.0, 0.0);
    for (track, (&samples, &weight)) in columns.num_samples.iter().zip(columns.weights).enumerate() {
        if samples < 0 {
            return wrong(track, format!("num_samples is {samples}; it must not be negative"));
        }
        if !(weight.is_finite() && weight >= 0.0) {
            return wrong(track, format!("weight is {weight}; it must be a number and not negative"));
        }
        weight_sum += weight;
        duration_sum += weight * samples as f64;
        weight_sums.push(f64::to_bits(weight_sum));
        duration_sums.push(f64::to_bits(duration_sum));
    }
    let all_equal = columns.weights.windows(2).all(|pair| pair[0] == pair[1]);
    let samples = || columns.num_samples.iter().map(|&n| n as u64);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + num_tracks * TRACK_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(u32::from(all_equal).to_le_bytes());
    for number in [num_tracks as u64, map.len() as u64, samples().sum(), samples().max().unwrap_or(0)] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(hash::of_bytes(&map));
    columns.keys.iter().for_each(|key| bytes.extend(key));
    for number in ends.into_iter().chain(samples()).chain(weight_sums).chain(duration_sums) {
        bytes.extend(number.to_le_bytes());
    }
    let table = table_path(manifest);
    write_atomically(&table, &bytes).map_err(|e| Error::io(&table, e))
}

/// `train.jsonl` -> `train.tracks`
pub fn table_path(manifest: &Path) -> PathBuf {
    manifest.with_extension("tracks")
}

fn line_ends(bytes: &[u8]) -> Vec<u64> {
    let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at as u64 + 1);
    let mut ends: Vec<u64> = newlines.collect();
    if bytes.last().is_some_and(|byte| *byte != b'\n') {
        ends.push(bytes.len() as u64);
    }
    ends
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
