//! Part of a WAV or AIFF file, read by its bytes alone: no probe, no packets.
//!
//! Only files as everyone writes them are taken (RIFF/WAVE of integers or floats, AIFF without compression, every chunk
//! inside the file), and only if Symphonia finds the same in them, which is asked once per process and file. Bits are the
//! same either way: integers are divided by a power of two, and a float32 holds the rest or is rounded once.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::decode::{Audio, Interrupt};
use crate::error::{Error, Result};
use crate::kernels;
use crate::memory::used;
use crate::pcm_samples::{Sample, convert};
use crate::planes::MAX_DECODED_SAMPLES;
use crate::seek_cache::{FileIdentity, SeekCache};
use crate::segments::Wanted;
use crate::stream::{MAX_CHANNELS, MAX_SAMPLE_RATE_HZ, Source, Stream};

const HEADER_BYTES: usize = 4096;
/// What is read at once: it and its samples stay in a core's cache until they are mixed.
const BLOCK_BYTES: usize = 1 << 15;
/// Between two looks at whether the caller was interrupted: a millisecond, unless the disk is slow.
const ASK_EVERY_BLOCKS: usize = 32;

/// Where the samples of a regular file lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    sample: Sample,
    num_channels: usize,
    sample_rate_hz: u32,
    data_at: u64,
    num_samples: u64,
}

/// 64 bytes or so each, and the path. None for a file that this reader leaves to others.
static LAYOUTS: SeekCache<Option<Layout>> = SeekCache::new(16 << 20);

/// See `SeekCache::prepare`.
pub fn prepare() {
    LAYOUTS.prepare();
}

/// None for a file that this reader leaves to others. `may_mix`: integers of several channels come as their mean.
pub fn read(
    path: &Path,
    identity: &FileIdentity,
    wanted: Wanted<'_>,
    may_mix: bool,
    interrupt: Interrupt<'_>,
) -> Result<Option<Audio>> {
    let failed = |e| Error::io(path, e);
    let layout = match LAYOUTS.get(identity) {
        Some(layout) => *layout,
        None => {
            let layout = find_layout(path).map_err(failed)?.filter(|layout| symphonia_agrees(path, layout));
            LAYOUTS.put(identity.clone(), Arc::new(layout), 0);
            layout
        }
    };
    let Some(layout) = layout else { return Ok(None) };
    let (start, count) = wanted(layout.sample_rate_hz)?;
    let file = File::open(path).map_err(failed)?;

    let start = start.min(layout.num_samples);
    let len = count.min(layout.num_samples - start) as usize;
    if len as u64 > MAX_DECODED_SAMPLES / layout.num_channels as u64 {
        return Ok(None); // the common path says what is too much
    }
    let integer = !matches!(layout.sample, Sample::F32Le | Sample::F64Le);
    let mixed = may_mix && integer;
    let samples = layout.read(&file, path, start..start + len as u64, mixed, interrupt)?;
    let num_channels = if mixed { 1 } else { layout.num_channels };
    Ok(Some(Audio { samples, num_channels, sample_rate_hz: layout.sample_rate_hz, integer }))
}

impl Layout {
    /// Samples of a range, [num_channels, len], or their mean, [len].
    fn read(
        &self,
        file: &File,
        path: &Path,
        range: Range<u64>,
        mixed: bool,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<f32>> {
        let (name, num_channels) = (path.display().to_string(), self.num_channels);
        let len = (range.end - range.start) as usize;
        let read_at = |bytes: &mut [u8], at: u64| file.read_exact_at(bytes, at).map_err(|e| Error::io(path, e));
        if mixed {
            let mut mono = used(&name, len)?;
            let mut planar = Vec::new();
            self.read_blocks(read_at, range, interrupt, |at, bytes| {
                let frames = bytes.len() / self.frame_bytes();
                planar.resize(num_channels * frames, 0.0);
                convert(self.sample, bytes, &mut planar.chunks_exact_mut(frames).collect::<Vec<_>>());
                kernels::mix_in_place(&mut planar, num_channels);
                mono[at..at + frames].copy_from_slice(&planar[..frames]);
            })?;
            return Ok(mono);
        }
        let mut samples = used(&name, num_channels * len)?;
        self.read_blocks(read_at, range, interrupt, |at, bytes| {
            let rows = samples.chunks_exact_mut(len).map(|row| &mut row[at..at + bytes.len() / self.frame_bytes()]);
            convert(self.sample, bytes, &mut rows.collect::<Vec<_>>());
        })?;
        Ok(samples)
    }

    /// Whole frames of a range, block by block, with the number of the block's first one in the range.
    fn read_blocks(
        &self,
        read_at: impl Fn(&mut [u8], u64) -> Result<()>,
        range: Range<u64>,
        interrupt: Interrupt<'_>,
        mut take: impl FnMut(usize, &[u8]),
    ) -> Result<()> {
        let len = (range.end - range.start) as usize;
        let most = (BLOCK_BYTES / self.frame_bytes()).clamp(1, len.max(1));
        let mut block = vec![0u8; most * self.frame_bytes()];
        for at in (0..len).step_by(most) {
            if (at / most).is_multiple_of(ASK_EVERY_BLOCKS) {
                interrupt()?;
            }
            let bytes = &mut block[..most.min(len - at) * self.frame_bytes()];
            read_at(bytes, self.data_at + (range.start + at as u64) * self.frame_bytes() as u64)?;
            take(at, bytes);
        }
        Ok(())
    }

    fn frame_bytes(&self) -> usize {
        self.sample.bytes() * self.num_channels
    }
}

fn find_layout(path: &Path) -> io::Result<Option<Layout>> {
    let mut file = File::open(path)?;
    let mut header = [0u8; HEADER_BYTES];
    let held = read_up_to(&mut file, &mut header)?;
    let file_bytes = file.metadata()?.len();
    Ok(parse(&file, &header[..held], file_bytes))
}

fn symphonia_agrees(path: &Path, layout: &Layout) -> bool {
    Stream::open(Source::File(path), false).is_ok_and(|stream| {
        stream.codec() == layout.sample.codec()
            && stream.spec() == Some((layout.sample_rate_hz, layout.num_channels))
            && stream.declared_samples() == Some(layout.num_samples)
    })
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut held = 0;
    while held < buffer.len() {
        match file.read(&mut buffer[held..])? {
            0 => break,
            more => held += more,
        }
    }
    Ok(held)
}

fn parse(file: &File, header: &[u8], file_bytes: u64) -> Option<Layout> {
    let layout = match (header.get(..4)?, header.get(8..12)?) {
        (b"RIFF", b"WAVE") => {
            let end = u64::from(u32::from_le_bytes(header[4..8].try_into().ok()?)) + 8;
            parse_wave(&Chunks { file, header, end: end.min(file_bytes), big_endian: false })
        }
        (b"FORM", b"AIFF") => {
            let end = u64::from(u32::from_be_bytes(header[4..8].try_into().ok()?)) + 8;
            parse_aiff(&Chunks { file, header, end: end.min(file_bytes), big_endian: true })
        }
        _ => None,
    }?;
    let sane = (1..=MAX_CHANNELS).contains(&layout.num_channels)
        && (1..=MAX_SAMPLE_RATE_HZ).contains(&layout.sample_rate_hz)
        && layout.num_samples > 0;
    sane.then_some(layout)
}

/// The chunks of a RIFF or IFF file; those beyond the header that was read are fetched one by one.
struct Chunks<'a> {
    file: &'a File,
    header: &'a [u8],
    /// Where the outermost chunk or the file ends.
    end: u64,
    big_endian: bool,
}

struct Chunk {
    id: [u8; 4],
    at: u64,
    bytes: u64,
}

impl Chunks<'_> {
    /// The first 40 bytes, or fewer, from `at` on.
    fn peek(&self, at: u64) -> Option<([u8; 40], usize)> {
        let mut bytes = [0u8; 40];
        let wanted = self.end.checked_sub(at)?.min(40) as usize;
        let from = usize::try_from(at).ok()?;
        match self.header.get(from..from + wanted) {
            Some(held) => bytes[..wanted].copy_from_slice(held),
            None => self.file.read_exact_at(&mut bytes[..wanted], at).ok()?,
        }
        Some((bytes, wanted))
    }

    /// The chunk whose head lies at `at`; None where it reaches beyond the end.
    fn chunk(&self, at: u64) -> Option<Chunk> {
        let (head, held) = self.peek(at)?;
        let size: [u8; 4] = head[4..8].try_into().ok().filter(|_| held >= 8)?;
        let bytes = u64::from(if self.big_endian { u32::from_be_bytes(size) } else { u32::from_le_bytes(size) });
        (at + 8 + bytes <= self.end).then(|| Chunk { id: [head[0], head[1], head[2], head[3]], at: at + 8, bytes })
    }
}

impl Chunk {
    fn next(&self) -> u64 {
        self.at + self.bytes + self.bytes % 2
    }
}

fn parse_wave(chunks: &Chunks<'_>) -> Option<Layout> {
    let (mut at, mut format) = (12, None);
    loop {
        let chunk = chunks.chunk(at)?;
        match &chunk.id {
            b"fmt " => format = Some(parse_format(&chunks.peek(chunk.at)?.0, chunk.bytes)?),
            b"data" => {
                let (sample, num_channels, sample_rate_hz): (Sample, usize, u32) = format?;
                let frame_bytes = (sample.bytes() * num_channels) as u64;
                let whole = chunk.bytes % frame_bytes == 0;
                let num_samples = chunk.bytes / frame_bytes;
                return whole.then_some(Layout {
                    sample,
                    num_channels,
                    sample_rate_hz,
                    data_at: chunk.at,
                    num_samples,
                });
            }
            _ => {}
        }
        at = chunk.next();
    }
}

/// The `fmt ` chunk: plain, or WAVE_FORMAT_EXTENSIBLE with as many speakers as channels and no unused bits.
fn parse_format(format: &[u8; 40], bytes: u64) -> Option<(Sample, usize, u32)> {
    let u16_at = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([format[at], format[at + 1], format[at + 2], format[at + 3]]);
    let (num_channels, rate_hz, block_bytes, bits) = (usize::from(u16_at(2)), u32_at(4), u16_at(12), u16_at(14));
    let tag = match u16_at(0) {
        tag @ (1 | 3) if bytes >= 16 && num_channels <= 2 => tag,
        0xfffe
            if bytes >= 40
                && u16_at(18) == bits
                && u32_at(20).count_ones() as usize == num_channels
                && format[26..40] == *b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71" =>
        {
            u16_at(24)
        }
        _ => return None,
    };
    let sample = match (tag, bits) {
        (1, 8) => Sample::U8,
        (1, 16) => Sample::I16Le,
        (1, 24) => Sample::I24Le,
        (1, 32) => Sample::I32Le,
        (3, 32) => Sample::F32Le,
        (3, 64) => Sample::F64Le,
        _ => return None,
    };
    (usize::from(block_bytes) == num_channels * sample.bytes() && num_channels > 0).then_some((
        sample,
        num_channels,
        rate_hz,
    ))
}

fn parse_aiff(chunks: &Chunks<'_>) -> Option<Layout> {
    let (mut at, mut common) = (12, None);
    loop {
        let chunk = chunks.chunk(at)?;
        let (head, _) = chunks.peek(chunk.at)?;
        match &chunk.id {
            b"COMM" if chunk.bytes == 18 => {
                let num_channels = usize::from(u16::from_be_bytes([head[0], head[1]]));
                let num_samples = u64::from(u32::from_be_bytes([head[2], head[3], head[4], head[5]]));
                let sample = match u16::from_be_bytes([head[6], head[7]]) {
                    8 => Sample::I8,
                    16 => Sample::I16Be,
                    24 => Sample::I24Be,
                    32 => Sample::I32Be,
                    _ => return None,
                };
                let rate_hz = parse_extended(&head[8..18])?;
                common = Some((sample, num_channels, rate_hz, num_samples)).filter(|_| (1..=2).contains(&num_channels));
            }
            b"SSND" => {
                let (sample, num_channels, sample_rate_hz, num_samples) = common?;
                let plain = head[..8] == [0; 8]; // neither offset nor blocks
                let whole = chunk.bytes == 8 + num_samples * (sample.bytes() * num_channels) as u64;
                let layout = Layout { sample, num_channels, sample_rate_hz, data_at: chunk.at + 8, num_samples };
                return (plain && whole).then_some(layout);
            }
            _ => {}
        }
        at = chunk.next();
    }
}

/// A whole number in 80-bit extended precision.
fn parse_extended(bytes: &[u8]) -> Option<u32> {
    let exponent = u16::from_be_bytes([bytes[0], bytes[1]]).checked_sub(16383)?;
    let mantissa = u64::from_be_bytes(bytes[2..10].try_into().ok()?);
    let shift = 63u16.checked_sub(exponent)?;
    let value = mantissa >> shift;
    (value << shift == mantissa).then(|| u32::try_from(value).ok())?
}
