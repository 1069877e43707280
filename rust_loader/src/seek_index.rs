//! Where in a file each stretch of samples begins, for the containers whose own positions cannot be trusted to the sample.
//!
//! One pass over the packets counts the samples that a decode from the start gives. Ogg pages are stamped by the
//! encoder, sometimes wrongly; Matroska's clock ticks in milliseconds; ADTS has no clock. The index is made once per
//! file and process, and holds a mark about every quarter of a second.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use symphonia::core::codecs::audio::AudioCodecParameters;

use crate::adts_frames::AdtsFrames;
use crate::decode::{Interrupt, check_contiguous};
use crate::error::{Error, Result};
use crate::matroska_blocks::MatroskaBlocks;
use crate::ogg_pages::OggPackets;
use crate::opus_packet;
use crate::packets::{Access, Mark, read_error};
use crate::seek_cache::{FileIdentity, SeekCache};
use crate::stream::Stream;

/// At 24 bytes per quarter of a second, more than 150 hours of audio.
const MAX_CACHE_BYTES: usize = 64 << 20;

/// None for a file that can only be decoded from its start.
static INDEXES: SeekCache<Option<SeekIndex>> = SeekCache::new(MAX_CACHE_BYTES);

/// How much a decoder that begins at a mark must decode before it gives what a decode from the start gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// This many samples.
    Samples(u64),
    /// Opus: see `opus_segment`.
    Opus,
}

pub struct SeekIndex {
    pub access: Access,
    pub memory: Memory,
    pub params: AudioCodecParameters,
    pub sample_rate_hz: u32,
    pub num_channels: usize,
    pub integer: bool,
    /// Samples before sample 0 and, counted from the same place, where the last one ends.
    pub skip: u64,
    pub end: u64,
    pub gain: f32,
    marks: Vec<Mark>,
}

impl SeekIndex {
    /// The last mark at or before `at`; the start when there is none.
    pub fn mark(&self, at: u64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.at <= at);
        self.marks[after.saturating_sub(1)]
    }
}

/// See `SeekCache::prepare`.
pub fn prepare() {
    INDEXES.prepare();
}

/// The index that is in memory. The inner None: there is none for this file.
pub fn known(file: &FileIdentity) -> Option<Arc<Option<SeekIndex>>> {
    INDEXES.get(file)
}

/// Makes the index of a file that `stream` has just opened, if it is of a kind that has one, and keeps it.
///
/// Fails where a whole decode would find what a segment must not silently be: a second stream after the first.
pub fn learn(
    path: &Path,
    file: &FileIdentity,
    stream: &mut Stream<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Option<Arc<Option<SeekIndex>>>> {
    let (container, codec) = (stream.container(), stream.codec());
    let (access, memory) = match (container, codec) {
        ("ogg", "vorbis") => (Access::OggPage { serial: stream.track.id }, Memory::Samples(0)),
        ("ogg", "opus") => (Access::OggPage { serial: stream.track.id }, Memory::Opus),
        ("aac", "aac") => (Access::AdtsFrame, Memory::Samples(2048)),
        ("isomp4", "aac") if stream.edits.is_none_or(|edits| !edits.regular) => {
            (Access::TimeStamp, Memory::Samples(2048))
        }
        ("matroska", "vorbis" | "flac" | "alac") => {
            (Access::MatroskaBlock { track: stream.track.id }, Memory::Samples(0))
        }
        ("matroska", "aac") => (Access::MatroskaBlock { track: stream.track.id }, Memory::Samples(2048)),
        ("matroska", "opus") => (Access::MatroskaBlock { track: stream.track.id }, Memory::Opus),
        ("matroska", codec) if codec.starts_with("pcm_") => {
            (Access::MatroskaBlock { track: stream.track.id }, Memory::Samples(0))
        }
        _ => return Ok(None),
    };
    let scan = match access {
        Access::OggPage { serial } => scan_pages(path, serial, stream, interrupt),
        Access::AdtsFrame => scan_frames(path, stream, interrupt),
        Access::MatroskaBlock { track } => scan_blocks(path, track, stream, interrupt),
        Access::TimeStamp => scan_stamps(stream, interrupt),
    };
    let scan = match scan {
        Ok(scan) => scan,
        Err(error @ (Error::Interrupted | Error::Unsupported { .. })) => return Err(error),
        Err(_) => None, // damaged: what a decode from the start says of the part that is asked for counts
    };
    let index = scan.zip(stream.spec()).map(|(scan, (sample_rate_hz, num_channels))| SeekIndex {
        access,
        memory,
        params: stream.decoder.codec_params().clone(),
        sample_rate_hz,
        num_channels,
        integer: stream.is_integer(),
        skip: stream.skip,
        end: stream.end().unwrap_or(u64::MAX).min(scan.num_samples.saturating_sub(stream.padding)),
        gain: stream.gain,
        marks: scan.marks,
    });
    let index = Arc::new(index);
    let bytes = index.as_ref().as_ref().map_or(0, |index| {
        index.marks.capacity() * size_of::<Mark>() + index.params.extra_data.as_ref().map_or(0, |data| data.len())
    });
    INDEXES.put(file.clone(), Arc::clone(&index), bytes);
    Ok(Some(index))
}

/// What one pass over a file's packets gives.
#[derive(Default)]
struct Scan {
    marks: Vec<Mark>,
    num_samples: u64,
}

impl Scan {
    fn wants_mark(&self, rate_hz: u32) -> bool {
        self.marks.last().is_none_or(|last| self.num_samples >= last.at + u64::from(rate_hz / 4))
    }
}

/// Ogg, read side by side by Symphonia, which checks and times the packets, and by our own reader, which knows where
/// they are. None where the two differ.
fn scan_pages(path: &Path, serial: u32, stream: &mut Stream<'_>, interrupt: Interrupt<'_>) -> Result<Option<Scan>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let failed = |e| read_error(&path.display().to_string(), e);
    let mut packets = OggPackets::new(file, serial, 0).map_err(failed)?;
    let vorbis = stream.codec() == "vorbis";
    for _ in 0..if vorbis { 3 } else { 2 } {
        packets.advance().map_err(failed)?;
    }
    let rate_hz = stream.spec().map_or(0, |(rate_hz, _)| rate_hz);
    let (mut scan, mut jumps) = (Scan::default(), 0);
    loop {
        interrupt()?;
        let expected = stream.next_packet();
        let found = packets.advance().map_err(failed)?;
        let (expected, found) = match (expected, found) {
            (Err(error @ Error::Unsupported { .. }), _) => return Err(error),
            (Ok(None) | Err(_), None) => break,
            (Ok(Some(expected)), Some(found)) if *expected.data == *found.data => (expected, found),
            _ => return Ok(None),
        };
        let frames = stream.frames_in(&expected);
        if frames > 0 {
            check_contiguous(stream, stream.position(&expected), scan.num_samples, &mut jumps)?;
        }
        if scan.wants_mark(rate_hz) {
            // A Vorbis decoder gives nothing for its first packet: it has no block to overlap it with.
            let at = scan.num_samples + if vorbis { frames } else { 0 };
            scan.marks.push(Mark { place: found.page, skip: found.nth, at });
        }
        scan.num_samples += frames;
    }
    Ok((scan.marks.first().is_some_and(|first| first.at == 0)).then_some(scan))
}

/// ADTS: frames of 1024 samples, read side by side as Ogg is.
fn scan_frames(path: &Path, stream: &mut Stream<'_>, interrupt: Interrupt<'_>) -> Result<Option<Scan>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let failed = |e| read_error(&path.display().to_string(), e);
    let mut own = AdtsFrames::new(file, stream.tag_bytes).map_err(failed)?;
    let rate_hz = stream.spec().map_or(0, |(rate_hz, _)| rate_hz);
    let mut scan = Scan::default();
    loop {
        interrupt()?;
        let (expected, found) = match (stream.next_packet(), own.advance().map_err(failed)?) {
            (Ok(None) | Err(_), None) => break,
            (Ok(Some(expected)), Some(found)) if *expected.data == *found.0 => (expected, found),
            _ => return Ok(None),
        };
        if scan.wants_mark(rate_hz) {
            scan.marks.push(Mark { place: found.1, skip: 0, at: scan.num_samples });
        }
        scan.num_samples += expected.dur.get();
    }
    Ok((!scan.marks.is_empty()).then_some(scan))
}

/// Matroska, read side by side as Ogg is, and decoded once where only that tells how many samples a packet holds.
fn scan_blocks(path: &Path, track: u32, stream: &mut Stream<'_>, interrupt: Interrupt<'_>) -> Result<Option<Scan>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let failed = |e| read_error(&path.display().to_string(), e);
    let mut own = MatroskaBlocks::new(file, track, 0).map_err(failed)?;
    let (vorbis, opus) = (stream.codec() == "vorbis", stream.codec() == "opus");
    let mut scan = Scan::default();
    loop {
        interrupt()?;
        let (expected, found) = match (stream.next_packet(), own.advance().map_err(failed)?) {
            (Ok(None) | Err(_), None) => break,
            (Ok(Some(expected)), Some(found)) if *expected.data == *found.0 => (expected, found),
            _ => return Ok(None),
        };
        let known = if opus { opus_packet::num_samples(&expected.data) } else { None };
        let frames = match known {
            Some(frames) => frames,
            None => stream.decode(&expected)? as u64,
        };
        if scan.wants_mark(stream.spec().map_or(0, |(rate_hz, _)| rate_hz)) {
            let at = scan.num_samples + if vorbis { frames } else { 0 };
            scan.marks.push(Mark { place: found.1, skip: 0, at });
        }
        scan.num_samples += frames;
    }
    Ok((scan.marks.first().is_some_and(|first| first.at == 0)).then_some(scan))
}

/// AAC in an MP4 file whose time stamps are no samples: another clock, gaps, fragments. A mark is a packet whose stamp
/// is above those of all packets before it and below that of the next.
fn scan_stamps(stream: &mut Stream<'_>, interrupt: Interrupt<'_>) -> Result<Option<Scan>> {
    const PACKET_SAMPLES: u64 = 1024;
    let rate_hz = stream.spec().map_or(0, |(rate_hz, _)| rate_hz);
    let mut scan = Scan { marks: vec![Mark { place: 0, skip: 0, at: 0 }], num_samples: 0 };
    let mut candidate: Option<Mark> = None;
    let mut highest = 0u64;
    loop {
        interrupt()?;
        let Some(packet) = stream.next_packet()? else { break };
        let Ok(stamp) = u64::try_from(packet.pts.get()) else { return Ok(None) };
        if stamp < highest {
            return Ok(None);
        }
        scan.marks.extend(candidate.take().filter(|mark| mark.place < stamp));
        if stamp > highest && scan.wants_mark(rate_hz) {
            candidate = Some(Mark { place: stamp, skip: 0, at: scan.num_samples });
        }
        highest = stamp;
        scan.num_samples += PACKET_SAMPLES;
    }
    Ok(Some(scan))
}
