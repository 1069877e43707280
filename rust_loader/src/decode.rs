//! Whole decode and probe: what a file is, and all its samples.

use crate::adts_frames;
use crate::error::{Error, Result};
pub use crate::guard::guard;
use crate::kernels;
use crate::mpeg::Mpeg;
use crate::mpeg_header::Header;
use crate::planes::Planes;
use crate::stream::{Family, Source, Stream};
use crate::tags::read_tags;

/// Samples; an Ogg page holds about 4 kB, which is more than this at any bit rate of Vorbis and Opus.
const SMALLEST_PAGE: i64 = 2048;

/// Called now and then during long work; an error stops it.
pub type Interrupt<'a> = &'a (dyn Fn() -> Result<()> + Sync);

/// What a file is, without its samples.
pub struct Info {
    pub container: &'static str,
    pub codec: &'static str,
    pub sample_rate_hz: u32,
    pub num_channels: usize,
    /// Samples per channel after gapless trims; None where only a decode would tell (Matroska).
    pub num_samples: Option<u64>,
    pub tags: Vec<(String, String)>,
}

/// Planar float32 [num_channels, num_samples], row-major.
#[derive(Debug)]
pub struct Audio {
    pub samples: Vec<f32>,
    pub num_channels: usize,
    pub sample_rate_hz: u32,
    /// The codec's samples are integers, so that all of these are finite.
    pub integer: bool,
}

impl Audio {
    /// Fails where a sample is NaN or infinite. `start`: the number of the first sample in the file.
    pub fn check_finite(&self, name: &str, start: u64) -> Result<()> {
        let first = if self.integer { None } else { kernels::first_nonfinite(&self.samples) };
        let Some(index) = first else { return Ok(()) };
        let num_samples = self.num_samples();
        let at = start + (index % num_samples) as u64;
        let message = format!(
            "sample {at} of channel {} ({:.3} s) is {}",
            index / num_samples,
            at as f64 / f64::from(self.sample_rate_hz),
            self.samples[index]
        );
        Err(Error::corrupt(name, message))
    }

    pub fn num_samples(&self) -> usize {
        self.samples.len() / self.num_channels
    }
}

pub fn probe(source: Source<'_>, interrupt: Interrupt<'_>) -> Result<Info> {
    guard(&source.name(), || {
        let mut stream = match open(source, false)? {
            Opened::Stream(stream) => stream,
            Opened::Mpeg(mpeg) => return probe_mpeg(mpeg, source, interrupt),
        };
        let tags = read_tags(&mut stream);
        let (container, codec) = (stream.container(), stream.codec());
        let mut first_packet = None;
        if stream.spec().is_none() || stream.family == Family::Aac {
            first_packet = Some(stream.advance()?.map_or(0, |place| place.num_frames as u64));
        }
        let (sample_rate_hz, num_channels) =
            stream.spec().ok_or_else(|| Error::corrupt(&stream.name, "holds no audio"))?;
        let num_samples = match (stream.declared_samples(), stream.family, first_packet) {
            (_, Family::Other, _) => None,
            (None, Family::Aac, Some(frames)) => {
                Some((frames + stream.count_samples(Some(frames), interrupt)?).saturating_sub(stream.skip))
            }
            (Some(_), Family::Vorbis, None) => Some(stream.count_samples(None, interrupt)?), // an end stamp may lie
            (Some(samples), _, _) => Some(samples),
            (None, _, first) => {
                Some(first.unwrap_or(0) + stream.count_samples(None, interrupt)?.saturating_sub(stream.skip))
            }
        };
        Ok(Info { container, codec, sample_rate_hz, num_channels, num_samples, tags })
    })
}

fn probe_mpeg(mut mpeg: Mpeg<'_>, source: Source<'_>, interrupt: Interrupt<'_>) -> Result<Info> {
    let Header { sample_rate_hz, num_channels, .. } = mpeg.header();
    let codec = mpeg.codec();
    let num_samples = Some(mpeg.num_samples(interrupt)?);
    let tags = match Stream::open(source, false) {
        Ok(mut stream) => read_tags(&mut stream),
        Err(error @ (Error::Io { .. } | Error::Interrupted)) => return Err(error),
        Err(_) => Vec::new(), // frames that decode, behind tags that Symphonia cannot read
    };
    Ok(Info { container: codec, codec, sample_rate_hz, num_channels, num_samples, tags })
}

/// All samples. Fails when the file ends before its header says so, when packets are missing or cannot be decoded, and
/// when samples are not finite.
pub fn decode(source: Source<'_>, interrupt: Interrupt<'_>) -> Result<Audio> {
    guard(&source.name(), || {
        let mut stream = match open(source, true)? {
            Opened::Stream(stream) => stream,
            Opened::Mpeg(mut mpeg) => {
                mpeg.check_complete(interrupt)?;
                return Ok(mpeg.read(0, u64::MAX, interrupt)?.into_audio());
            }
        };
        let range = read_range(&mut stream, 0, None, interrupt)?;
        check_complete(&mut stream, range.planes.num_samples() as u64, range.jumps)?;
        if stream.container() == "aac" && adts_frames::is_cut(source.open()?.0, stream.tag_bytes) {
            return Err(Error::corrupt(&stream.name, "truncated: the last frame is not whole"));
        }
        let audio = range.into_audio();
        audio.check_finite(&stream.name, 0)?;
        Ok(audio)
    })
}

/// A file by the path that reads it.
pub enum Opened<'s> {
    Mpeg(Mpeg<'s>),
    Stream(Box<Stream<'s>>),
}

pub fn open(source: Source<'_>, verify: bool) -> Result<Opened<'_>> {
    if let Some(mpeg) = Mpeg::open(source, false)? {
        return Ok(Opened::Mpeg(mpeg));
    }
    let stream = Stream::open(source, verify)?;
    if stream.family != Family::Mpeg {
        return Ok(Opened::Stream(Box::new(stream)));
    }
    match Mpeg::open(source, true)? {
        Some(mpeg) => Ok(Opened::Mpeg(mpeg)),
        None => Err(Error::unsupported(&stream.name, "not audio, or of a format that is not read")),
    }
}

/// Part of a stream, with what a caller may want to check.
pub struct Range {
    pub planes: Planes,
    pub sample_rate_hz: u32,
    pub num_channels: usize,
    /// Samples by which the container's positions ran ahead of the samples.
    pub jumps: u64,
    pub integer: bool,
}

impl Range {
    pub fn into_audio(self) -> Audio {
        let Self { planes, sample_rate_hz, num_channels, integer, .. } = self;
        Audio { samples: planes.into_vec(), num_channels, sample_rate_hz, integer }
    }
}

/// Samples `start .. start + count` (to the end for None) of a stream that is at its beginning.
pub fn read_range(stream: &mut Stream<'_>, start: u64, count: Option<u64>, interrupt: Interrupt<'_>) -> Result<Range> {
    let mut planes: Option<Planes> = None;
    let mut at = 0u64; // samples passed since the beginning, skipped ones included
    let mut jumps = 0u64;
    let from = start.saturating_add(stream.skip);
    let end = stream.end().unwrap_or(u64::MAX).min(count.map_or(u64::MAX, |count| from.saturating_add(count)));
    let mut ended = false;
    while at < end.saturating_add(stream.padding) {
        interrupt()?;
        let Some(place) = stream.advance()? else {
            ended = true;
            break;
        };
        check_contiguous(stream, place.position, at, &mut jumps)?;
        let frames = place.num_frames as u64;
        let (lo, hi) = (from.clamp(at, at + frames) - at, end.clamp(at, at + frames) - at);
        let spec = stream.spec().expect("a decoded packet has a rate");
        let planes = planes.get_or_insert_with(|| Planes::new(spec.1, expected(stream, spec.1, count)));
        if lo < hi {
            planes.append(&stream.name, &stream.decoded(), lo as usize, hi as usize)?;
        }
        at += frames;
    }
    let Some(spec) = stream.spec() else {
        return Err(Error::corrupt(&stream.name, "holds no audio"));
    };
    let mut planes = planes.unwrap_or_else(|| Planes::new(spec.1, 0));
    if ended {
        let last = at.saturating_sub(stream.padding).max(from);
        planes.drop_back(end.min(at).saturating_sub(last) as usize);
    }
    if stream.codec() == "opus" {
        planes.flush_tiny();
    }
    if stream.gain != 1.0 {
        planes.scale(stream.gain);
    }
    Ok(Range { planes, sample_rate_hz: spec.0, num_channels: spec.1, jumps, integer: stream.is_integer() })
}

/// Room to start with: what the header or the caller says, but never more than the file's size makes plausible.
fn expected(stream: &Stream<'_>, num_channels: usize, count: Option<u64>) -> usize {
    let claim = count.unwrap_or(u64::MAX).min(stream.declared_samples().unwrap_or(0));
    let plausible = stream.source_bytes.saturating_mul(64) / num_channels as u64;
    claim.min(plausible).min(1 << 30) as usize
}

/// Packets of these codecs say where they belong: a gap means lost packets, which must not shift what follows. Ogg
/// pages are stamped by the encoder, and some stamp a block switch wrongly (by 448 samples, often): such a jump, below
/// any page's length, is counted in `jumps` and otherwise ignored, as other players do.
pub fn check_contiguous(stream: &Stream<'_>, position: i64, at: u64, jumps: &mut u64) -> Result<()> {
    let stamped = match stream.family {
        Family::Lossless => false,
        Family::Vorbis | Family::Opus => true,
        Family::Mpeg | Family::Aac | Family::Other => return Ok(()),
    };
    let origin = stream.track.start_ts.get().max(0);
    let position = position.saturating_add_unsigned(stream.skip).saturating_sub(origin);
    let jump = position.saturating_sub_unsigned(at + *jumps);
    if jump > 0 && !(stamped && jump < SMALLEST_PAGE) {
        let message = format!("packets are missing: sample {at} is followed by sample {position}");
        return Err(Error::corrupt(&stream.name, message));
    }
    *jumps = jumps.saturating_add_signed(jump);
    Ok(())
}

fn check_complete(stream: &mut Stream<'_>, decoded: u64, jumps: u64) -> Result<()> {
    stream.check_plausible()?;
    if let Some(declared) = stream.declared_samples().filter(|&declared| decoded + jumps < declared) {
        let message = format!("truncated: {decoded} of {declared} samples are there");
        return Err(Error::corrupt(&stream.name, message));
    }
    if stream.missing_bytes > 0 {
        let message = format!("truncated: the last {} bytes are not there", stream.missing_bytes);
        return Err(Error::corrupt(&stream.name, message));
    }
    if decoded == 0 {
        return Err(Error::corrupt(&stream.name, "holds no samples"));
    }
    if stream.container() == "ogg" {
        // To the last page, which must say that it is: a file cut between two pages looks whole otherwise.
        while stream.next_packet()?.is_some() {}
    }
    if stream.verified() == Some(false) {
        return Err(Error::corrupt(&stream.name, "the samples do not match the checksum in the file"));
    }
    Ok(())
}
