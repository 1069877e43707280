//! Where the frames of an MPEG audio file are: found once as far as needed, and remembered by the process for as long
//! as the file stays the same.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::mpeg_bytes::{Bytes, Version};
use crate::mpeg_header::MAX_FRAME_BYTES;
use crate::mpeg_scan::{Extent, Frame, Scan};
use crate::mpeg_tag::{Gapless, Tag};

/// Frames between two remembered positions.
const STRIDE_FRAMES: u64 = 32;

/// For all files together: some 7000 songs of four minutes.
const MAX_REMEMBERED_BYTES: usize = 16 << 20;

/// A file this young may be written again without its time stamps telling.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Index {
    pub extent: Extent,
    pub tag: Option<Tag>,
    /// Frames found so far.
    pub num_frames: u64,
    pub frame_bytes: u64,
    /// Positions of frames 0, 32, 64, ...
    positions: Vec<u64>,
    scan: Scan,
}

impl Index {
    /// None for what is not MPEG audio; `anywhere` as for `Extent::find`.
    pub fn open(bytes: &mut Bytes<'_>, anywhere: bool) -> Result<Option<Self>> {
        let Some(extent) = Extent::find(bytes, anywhere)? else { return Ok(None) };
        let tag = Tag::parse(bytes.get(extent.begin, extent.header.num_bytes.min(MAX_FRAME_BYTES))?, &extent.header);
        let scan = Scan::new(extent.begin);
        Ok(Some(Self { extent, tag, num_frames: 0, frame_bytes: 0, positions: Vec::new(), scan }))
    }

    pub fn is_complete(&self) -> bool {
        self.scan.at >= self.extent.end
    }

    /// Bytes among the frames that are no frames.
    pub fn junk_bytes(&self) -> u64 {
        self.scan.junk_bytes
    }

    /// Finds frames until there are `num_frames`, or no more.
    pub fn extend(&mut self, bytes: &mut Bytes<'_>, num_frames: u64, interrupt: Interrupt<'_>) -> Result<()> {
        while self.num_frames < num_frames {
            let Some(frame) = self.extent.next(bytes, &mut self.scan)? else { break };
            if self.num_frames.is_multiple_of(STRIDE_FRAMES) {
                interrupt()?;
                self.positions.push(frame.at);
            }
            self.num_frames += 1;
            self.frame_bytes += frame.header.num_bytes as u64;
        }
        Ok(())
    }

    /// A frame that has been found, and its scan, which goes on behind it.
    pub fn frame(&self, bytes: &mut Bytes<'_>, number: u64) -> Result<(Frame, Scan)> {
        let mut scan = Scan::new(self.positions[(number / STRIDE_FRAMES) as usize]);
        for _ in 0..number % STRIDE_FRAMES {
            self.extent.next(bytes, &mut scan)?;
        }
        match self.extent.next(bytes, &mut scan)? {
            Some(frame) => Ok((frame, scan)),
            None => Err(Error::corrupt(&bytes.name, "changed while it was read")),
        }
    }

    pub fn gapless(&self) -> Gapless {
        self.tag.and_then(|tag| tag.gapless).unwrap_or(Gapless { delay: 0, padding: 0 })
    }

    /// Where the tag says that the music ends, in samples from the first frame.
    pub fn declared_end(&self) -> Option<u64> {
        let tag = self.tag.filter(|tag| tag.gapless.is_some())?;
        let Gapless { delay, padding } = self.gapless();
        let samples = tag.num_frames? * self.extent.header.num_samples();
        Some(samples.saturating_sub(padding).max(delay))
    }

    /// Whether the tag is by an encoder that counts frames right, and the file as long as it says: then so is the music.
    pub fn is_as_declared(&self) -> bool {
        let there = self.extent.end - self.extent.begin;
        self.counts_right() && self.tag.and_then(|tag| tag.num_bytes).is_some_and(|declared| declared == there)
    }

    /// LAME and FFmpeg do; other encoders disagree on whether the tag's own frame counts.
    fn counts_right(&self) -> bool {
        self.gapless().delay > 0
    }

    /// Where the music ends, in samples from the first frame, once all frames are found.
    pub fn found_end(&self) -> u64 {
        let found = self.num_frames * self.extent.header.num_samples();
        let Some(gapless) = self.tag.and_then(|tag| tag.gapless) else { return found };
        match (self.declared_end(), self.tag.and_then(|tag| tag.num_frames)) {
            // files that were joined: the tag is about the first of them
            (Some(_), Some(declared)) if self.num_frames > declared + 1 => found,
            (Some(end), _) => end.min(found),
            (None, _) => found.saturating_sub(gapless.padding).max(gapless.delay),
        }
    }

    /// Fails when frames are missing or cut, once all are found.
    pub fn check_complete(&self, name: &str) -> Result<()> {
        let declared = self.tag.and_then(|tag| tag.num_frames).unwrap_or(0);
        let whole_tag = self.tag.and_then(|tag| tag.num_bytes).unwrap_or(0);
        let is_short = self.extent.end - self.extent.begin < whole_tag;
        let may_count_itself = !self.counts_right() && !is_short && self.junk_bytes() == 0 && self.scan.cut.is_none();
        let is_missing = self.num_frames + u64::from(may_count_itself) < declared;
        if is_missing {
            let samples = |frames: u64| {
                let all = frames * self.extent.header.num_samples();
                all.min(self.declared_end().unwrap_or(u64::MAX)).saturating_sub(self.gapless().delay)
            };
            let what = if self.junk_bytes() > 0 { "damaged" } else { "truncated" };
            let message = format!("{what}: {} of {} samples are there", samples(self.num_frames), samples(declared));
            return Err(Error::corrupt(name, message));
        }
        if let (Some((at, needs, has)), true) = (self.scan.cut, declared == 0) {
            let message = format!("truncated: the frame at byte {at} needs {needs} bytes, {has} are there");
            return Err(Error::corrupt(name, message));
        }
        let there = self.extent.end - self.extent.begin;
        if self.frame_bytes * 4 < there {
            let message = format!(
                "only {} of {there} bytes are MPEG audio frames; not an audio file, or damaged",
                self.frame_bytes
            );
            return Err(Error::corrupt(name, message));
        }
        Ok(())
    }
}

/// The indexes that this process has made, the last used ones.
static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);

/// Makes the place for them, so that no fork can come in the midst of it.
pub fn prepare() {
    LazyLock::force(&REMEMBERED);
}

#[derive(Default)]
struct Remembered {
    indexes: HashMap<Version, (u64, Arc<Index>)>,
    clock: u64,
    num_bytes: usize,
}

/// What is known of a file. A lock that is taken counts as nothing known: a forked process, whose parent had it at that
/// moment, will never get it.
pub fn recall(bytes: &Bytes<'_>) -> Option<Arc<Index>> {
    let mut remembered = REMEMBERED.try_lock().ok()?;
    remembered.clock += 1;
    let clock = remembered.clock;
    let (used, index) = remembered.indexes.get_mut(&bytes.version()?)?;
    *used = clock;
    Some(index.clone())
}

pub fn remember(bytes: &Bytes<'_>, index: &Arc<Index>) {
    let Some(version) = bytes.version().filter(|version| is_settled(*version)) else { return };
    let Ok(mut remembered) = REMEMBERED.try_lock() else { return };
    remembered.put(version, index.clone());
}

fn is_settled(version: Version) -> bool {
    let changed = UNIX_EPOCH + Duration::from_nanos(version.changed_ns());
    SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED)
}

impl Remembered {
    fn put(&mut self, version: Version, index: Arc<Index>) {
        let size = |index: &Index| 8 * index.positions.len() + size_of::<Index>() + 64;
        self.clock += 1;
        self.num_bytes += size(&index);
        if let Some((_, old)) = self.indexes.insert(version, (self.clock, index)) {
            self.num_bytes -= size(&old);
        }
        if self.num_bytes > MAX_REMEMBERED_BYTES {
            let mut used: Vec<u64> = self.indexes.values().map(|(used, _)| *used).collect();
            let middle = used.len() / 2;
            let median = *used.select_nth_unstable(middle).1;
            self.indexes.retain(|_, (used, _)| *used >= median);
            self.num_bytes = self.indexes.values().map(|(_, index)| size(index)).sum();
        }
    }
}
