//! Batches of codes: segments drawn, cut out of the mapped shards, laid out by a pattern and widened to the model's
//! integers, straight into the caller's buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use crate::decode::Interrupt;
use crate::draw::Sampler;
use crate::error::{Error, Result};
use crate::hash;
use crate::sampler::below;
use crate::shard_read::TokenShards;
use crate::watch::wait;

/// Between two looks at whether the caller was interrupted: a millisecond or so.
const ASK_EVERY_SEGMENTS: u64 = 4096;
/// The same where a segment's codes are copied, some kilobytes each.
const ASK_EVERY_CUTS: usize = 64;
const MAX_CODEBOOKS: usize = 1024;
/// Most segments of one draw, whose numbers take 15 GB.
const MAX_DRAWN: usize = 1 << 28;

/// Integers that codes can be written as.
pub trait Code: Copy + Send + Sync {
    fn from_code(code: u16) -> Self;
    /// A token in this type, if it fits.
    fn from_token(token: i64) -> Option<Self>;
}

macro_rules! code {
    ($($type:ty),+) => {$(
        impl Code for $type {
            fn from_code(code: u16) -> Self {
                code as Self
            }

            fn from_token(token: i64) -> Option<Self> {
                Self::try_from(token).ok()
            }
        }
    )+};
}

code!(u16, i16, i32, i64);

/// Where each step of the sequence takes its code from, as runs of consecutive frames: one run per codebook for the
/// delay pattern, up to one per frame for others.
pub struct Layout {
    pub num_steps: usize,
    pub num_frames: usize,
    runs_of_codebook: Vec<Vec<Run>>,
}

struct Run {
    step: usize,
    frame: usize,
    len: usize,
}

impl Layout {
    /// No pattern: step t holds frame t of every codebook.
    pub fn plain(num_codebooks: usize, num_frames: usize) -> Result<Self> {
        check_sizes(num_codebooks, num_frames)?;
        let runs_of_codebook = (0..num_codebooks).map(|_| vec![Run { step: 0, frame: 0, len: num_frames }]).collect();
        Ok(Self { num_steps: num_frames, num_frames, runs_of_codebook })
    }

    /// `frames` [K, S]: the frame that each step holds, -1 for none.
    pub fn from_table(frames: &[i64], num_codebooks: usize, num_frames: usize) -> Result<Self> {
        check_sizes(num_codebooks, num_frames)?;
        if let Some(frame) = frames.iter().find(|frame| !(-1..num_frames as i64).contains(*frame)) {
            return Err(Error::value(format!("the pattern holds frame {frame} of segments of {num_frames} frames")));
        }
        let num_steps = frames.len() / num_codebooks.max(1);
        let mut runs_of_codebook = Vec::with_capacity(num_codebooks);
        for row in frames.chunks(num_steps.max(1)) {
            let mut runs: Vec<Run> = Vec::new();
            for (step, &frame) in row.iter().enumerate().filter(|(_, frame)| **frame >= 0) {
                match runs.last_mut() {
                    Some(run) if run.step + run.len == step && run.frame + run.len == frame as usize => run.len += 1,
                    _ => runs.push(Run { step, frame: frame as usize, len: 1 }),
                }
            }
            runs_of_codebook.push(runs);
        }
        Ok(Self { num_steps, num_frames, runs_of_codebook })
    }

    pub fn num_codebooks(&self) -> usize {
        self.runs_of_codebook.len()
    }
}

/// Tracks have fewer than 2^32 frames.
fn check_sizes(num_codebooks: usize, num_frames: usize) -> Result<()> {
    if !(1..=MAX_CODEBOOKS).contains(&num_codebooks) {
        return Err(Error::value(format!("num_codebooks is {num_codebooks}; it must be in 1..={MAX_CODEBOOKS}")));
    }
    if u32::try_from(num_frames).is_err() {
        return Err(Error::value(format!("segment_frames is {num_frames}; it must be in 0..={}", u32::MAX)));
    }
    Ok(())
}

/// Segments, one number per sample in each column.
#[derive(Default, Debug)]
pub struct Segments {
    pub epochs: Vec<i64>,
    pub indexes: Vec<i64>,
    /// Which list of tracks, and which of its tracks.
    pub lists: Vec<i64>,
    pub tracks: Vec<i64>,
    /// Number of the track in its token index.
    pub rows: Vec<i64>,
    pub starts: Vec<i64>,
    /// Frames of the segment that lie inside the track.
    pub num_valid: Vec<i64>,
}

/// Draws segments of codes.
pub struct TokenSampler {
    sampler: Sampler,
    shards: Vec<Arc<TokenShards>>,
    segment_frames: usize,
    /// Frames of a segment that must lie inside its track.
    needed: u64,
}

impl TokenSampler {
    pub fn new(sampler: Sampler, shards: Vec<Arc<TokenShards>>, segment_frames: usize, ratio: f64) -> Result<Self> {
        if shards.len() != sampler.lists().len() {
            let message = format!("{} token indexes for {} lists of tracks", shards.len(), sampler.lists().len());
            return Err(Error::value(message));
        }
        if !(0.0..=1.0).contains(&ratio) {
            return Err(Error::value(format!("min_segment_ratio is {ratio}; it must be in [0, 1]")));
        }
        let needed = (segment_frames as f64 * ratio - 1e-9).ceil().max(0.0) as u64;
        Ok(Self { sampler, shards, segment_frames, needed })
    }

    /// Segments of samples `first ..`, `count` of them. The start is uniform in [0, max(0, frames - needed)].
    pub fn draw(&self, first: u64, count: usize, interrupt: Interrupt<'_>) -> Result<Segments> {
        if count > MAX_DRAWN {
            return Err(Error::value(format!("a draw of {count} samples; at most {MAX_DRAWN} are drawn at once")));
        }
        let mut drawn = Segments::default();
        for offset in 0..count as u64 {
            if offset.is_multiple_of(ASK_EVERY_SEGMENTS) {
                interrupt()?;
            }
            let pick = self.sampler.pick(first.wrapping_add(offset));
            let row = self.row(pick.list, pick.track)?;
            let frames = u64::from(self.shards[pick.list].record(row).num_frames);
            let start = below(pick.start_word, frames.saturating_sub(self.needed) + 1);
            drawn.epochs.push(pick.epoch as i64);
            drawn.indexes.push(pick.index as i64);
            drawn.lists.push(pick.list as i64);
            drawn.tracks.push(pick.track as i64);
            drawn.rows.push(row as i64);
            drawn.starts.push(start as i64);
            drawn.num_valid.push((frames - start).min(self.segment_frames as u64) as i64);
        }
        Ok(drawn)
    }

    /// Finds every track of every list in its token index.
    pub fn check(&self, interrupt: Interrupt<'_>) -> Result<()> {
        for (list, tracks) in self.sampler.lists().iter().enumerate() {
            for track in 0..tracks.num_tracks() {
                if (track as u64).is_multiple_of(ASK_EVERY_SEGMENTS) {
                    interrupt()?;
                }
                self.row(list, track)?;
            }
        }
        Ok(())
    }

    pub fn shards(&self) -> &[Arc<TokenShards>] {
        &self.shards
    }

    pub fn segment_frames(&self) -> usize {
        self.segment_frames
    }

    fn row(&self, list: usize, track: usize) -> Result<usize> {
        let tracks = &self.sampler.lists()[list];
        let key = tracks.key(track);
        self.shards[list].row(&key).ok_or_else(|| {
            let (key, index) = (hash::hex(&key), self.shards[list].path().display());
            let message = format!("line {}: track {key} has no codes in {index}; tokenise the corpus again", track + 1);
            Error::shard(tracks.manifest(), message)
        })
    }
}

/// Cuts segments into `out` [B, K, S], `special` where there is no code; `mask` [B, K, S], empty if not wanted, is 1 where there is.
///
/// `rows` and `starts` are those of a draw, `shards[lists[b]]` holds segment b.
#[expect(clippy::too_many_arguments, reason = "the caller's buffers, which numpy holds one by one")]
pub fn cut<T: Code>(
    shards: &[Arc<TokenShards>],
    segments: [&[i64]; 3],
    layout: &Layout,
    special: i64,
    out: &mut [T],
    mask: &mut [u8],
    num_threads: usize,
    interrupt: Interrupt<'_>,
) -> Result<()> {
    let [lists, rows, starts] = segments;
    let unfit = |what: &str, token: i64| {
        Error::value(format!("the {what} {token} does not fit {}", std::any::type_name::<T>()))
    };
    let special = T::from_token(special).ok_or_else(|| unfit("special token", special))?;
    for shard in shards.iter().filter(|shard| shard.num_tracks() > 0) {
        let header = shard.header();
        let largest = i64::from(header.card) - 1;
        T::from_token(largest).ok_or_else(|| unfit("largest code", largest))?;
        if header.num_codebooks as usize != layout.num_codebooks() {
            let message = format!("{} codebooks, expected {}", header.num_codebooks, layout.num_codebooks());
            return Err(Error::shard(shard.path(), message));
        }
    }
    let width = layout.num_codebooks() * layout.num_steps;
    assert!(out.len() == width * rows.len() && (mask.is_empty() || mask.len() == out.len()));
    if width == 0 || rows.is_empty() {
        return Ok(());
    }
    let cut_some = |first: usize, out: &mut [T], mut mask: &mut [u8], asked: Interrupt<'_>| -> Result<()> {
        for (offset, out) in out.chunks_exact_mut(width).enumerate() {
            let masked;
            (masked, mask) = mask.split_at_mut(width.min(mask.len()));
            if offset.is_multiple_of(ASK_EVERY_CUTS) {
                asked()?;
            }
            let at = first + offset;
            let shard = usize::try_from(lists[at]).ok().and_then(|list| shards.get(list));
            let shard = shard.ok_or_else(|| Error::value(format!("list {} of {}", lists[at], shards.len())))?;
            cut_one(shard, rows[at], starts[at], layout, special, out, masked)?;
        }
        Ok(())
    };
    let share = rows.len().div_ceil(num_threads.max(1));
    if share == rows.len() {
        return cut_some(0, out, mask, interrupt);
    }
    let stop = AtomicBool::new(false);
    let asked = || if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
    // Threads live for one call: nothing is left behind for a fork to break.
    std::thread::scope(|scope| {
        let mut mask = mask;
        let (mut workers, (ended, end)) = (Vec::new(), channel::<()>());
        for (number, out) in out.chunks_mut(share * width).enumerate() {
            let masked;
            (masked, mask) = mask.split_at_mut(out.len().min(mask.len()));
            let (cut_some, asked, ended) = (&cut_some, &asked, ended.clone());
            let work = move || {
                let _ended = ended; // gone when this thread is
                cut_some(number * share, out, masked, asked)
            };
            let worker = std::thread::Builder::new().spawn_scoped(scope, work);
            workers.push(worker.map_err(|e| Error::value(format!("cannot start {num_threads} threads: {e}")))?);
        }
        drop(ended);
        wait(interrupt, &end, &stop)?;
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic in a worker"))
    })
}

fn cut_one<T: Code>(
    shard: &TokenShards,
    row: i64,
    start: i64,
    layout: &Layout,
    special: T,
    out: &mut [T],
    mask: &mut [u8],
) -> Result<()> {
    let (codes, num_frames) = shard.track_codes(row)?;
    let start =
        usize::try_from(start).map_err(|_| Error::value(format!("start is {start}; it must not be negative")))?;
    let num_valid = num_frames.saturating_sub(start).min(layout.num_frames);
    mask.fill(0);
    for (k, (out, runs)) in out.chunks_exact_mut(layout.num_steps).zip(&layout.runs_of_codebook).enumerate() {
        let codes = &codes[2 * k * num_frames..2 * (k + 1) * num_frames];
        let mut filled = 0;
        for run in runs {
            let len = num_valid.saturating_sub(run.frame).min(run.len);
            out[filled..run.step].fill(special);
            filled = run.step + len;
            let begin = 2 * (start + run.frame);
            if len > 0 {
                for (to, pair) in out[run.step..filled].iter_mut().zip(codes[begin..begin + 2 * len].chunks_exact(2)) {
                    *to = T::from_code(u16::from_le_bytes([pair[0], pair[1]]));
                }
                if !mask.is_empty() {
                    mask[k * layout.num_steps + run.step..][..len].fill(1);
                }
            }
        }
        out[filled..].fill(special);
    }
    Ok(())
}
