//! Part of a file, bit-equal to the same slice of its whole decode: by seeking where that is proven, from the start
//! otherwise.

use std::path::Path;

use crate::decode::{Audio, Interrupt, Opened, guard, open, read_range};
use crate::error::{Error, Result};
use crate::flac_frame::{FlacFrame, MAX_BITS};
use crate::mpeg::Mpeg;
use crate::opus_segment;
use crate::packets::PacketRun;
use crate::pcm_segment;
use crate::planes::Planes;
use crate::seek_cache::FileIdentity;
use crate::seek_index::{self, Memory, SeekIndex};
use crate::stream::{Family, Place, Source, Stream};

/// What is wanted of a file, (start, count) in samples, once its rate in Hz is known: so that a caller who thinks in
/// another rate need not open the file twice. Asked more than once, it answers the same.
pub type Wanted<'a> = &'a dyn Fn(u32) -> Result<(u64, u64)>;

/// Samples `start .. start + count` of the file's own rate; fewer at its end, none beyond it. `from_start`: seek in no
/// format.
pub fn decode_segment(
    source: Source<'_>,
    start: u64,
    count: u64,
    from_start: bool,
    interrupt: Interrupt<'_>,
) -> Result<Audio> {
    decode_wanted(source, &|_| Ok((start, count)), false, from_start, interrupt)
}

/// As `decode_segment`, where the file's rate decides what is wanted. `may_mix`: the mean over channels will do, where
/// it can be had on the way.
pub fn decode_wanted(
    source: Source<'_>,
    wanted: Wanted<'_>,
    may_mix: bool,
    from_start: bool,
    interrupt: Interrupt<'_>,
) -> Result<Audio> {
    let name = source.name();
    guard(&name, || {
        if let Some(mpeg) = Mpeg::open(source, false)? {
            return read_mpeg(mpeg, wanted, interrupt);
        }
        let sought = match source {
            Source::File(path) if !from_start => read_by_seeking(path, wanted, may_mix, interrupt)?,
            Source::Part { .. } if !from_start => read_by_stamps(&mut Stream::open(source, false)?, wanted, interrupt)?,
            _ => None,
        };
        let audio = match sought {
            Some(audio) => audio,
            None => {
                let mut stream = match open(source, false)? {
                    Opened::Stream(stream) => stream,
                    Opened::Mpeg(mpeg) => return read_mpeg(mpeg, wanted, interrupt),
                };
                let (start, count) = wanted(rate_of(&stream, source)?)?;
                read_range(&mut stream, start, Some(count), interrupt)?.into_audio()
            }
        };
        audio.check_finite(&name, wanted(audio.sample_rate_hz)?.0)?;
        Ok(audio)
    })
}

fn read_mpeg(mut mpeg: Mpeg<'_>, wanted: Wanted<'_>, interrupt: Interrupt<'_>) -> Result<Audio> {
    let (start, count) = wanted(mpeg.header().sample_rate_hz)?;
    Ok(mpeg.read(start, count, interrupt)?.into_audio())
}

/// Of a stream at its beginning; where the header is silent, a second one tells by its first packet.
fn rate_of(stream: &Stream<'_>, source: Source<'_>) -> Result<u32> {
    let mut spec = stream.spec();
    if spec.is_none() {
        let mut ahead = Stream::open(source, false)?;
        ahead.advance()?;
        spec = ahead.spec();
    }
    spec.map(|(rate_hz, _)| rate_hz).ok_or_else(|| Error::corrupt(&stream.name, "holds no audio"))
}

/// None when anything speaks against it: the caller then reads from the start.
fn read_by_seeking(path: &Path, wanted: Wanted<'_>, may_mix: bool, interrupt: Interrupt<'_>) -> Result<Option<Audio>> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !metadata.is_file() {
        return Ok(None); // `Stream::open` says what it is
    }
    let file = FileIdentity::new(path, &metadata);
    if let Some(audio) = pcm_segment::read(path, &file, wanted, may_mix, interrupt)? {
        return Ok(Some(audio));
    }
    let index = match seek_index::known(&file) {
        Some(index) => index,
        None => {
            let mut stream = Stream::open(Source::File(path), false)?;
            match seek_index::learn(path, &file, &mut stream, interrupt)? {
                Some(index) => index,
                None => return read_by_stamps(&mut stream, wanted, interrupt),
            }
        }
    };
    match index.as_ref() {
        Some(index) => read_by_index(path, index, wanted, interrupt),
        None => Ok(None),
    }
}

/// By an index of the file.
fn read_by_index(
    path: &Path,
    index: &SeekIndex,
    wanted: Wanted<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Option<Audio>> {
    let SeekIndex { num_channels, sample_rate_hz, integer, .. } = *index;
    let (start, count) = wanted(sample_rate_hz)?;
    let from = start.saturating_add(index.skip);
    let to = from.saturating_add(count).min(index.end);
    if from >= to {
        return Ok(Some(Audio { samples: Vec::new(), num_channels, sample_rate_hz, integer }));
    }
    let found = match index.memory {
        Memory::Opus => opus_segment::read(path, index, from, to, interrupt),
        Memory::Samples(memory) => {
            let mark = index.mark(from.saturating_sub(memory));
            PacketRun::new(path, index.access, &index.params, mark)
                .and_then(|mut run| run.read(mark.at, from..to, num_channels, interrupt))
        }
    };
    let mut planes = match found {
        Ok(Some(planes)) => planes,
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Ok(None) | Err(_) => return Ok(None), // what the decode from the start says of it is the answer
    };
    if index.gain != 1.0 {
        planes.scale(index.gain);
    }
    Ok(Some(Audio { samples: planes.into_vec(), num_channels, sample_rate_hz, integer }))
}

/// Samples to decode and drop before a segment so that the decoder's state no longer depends on where it began; None
/// where the container's time stamps are no samples.
///
/// AAC: one packet overlaps the next; one more for the shape of its window. (Noise that the decoder draws, PNS, does
/// depend on where it began.)
fn pre_roll(stream: &Stream<'_>) -> Option<u64> {
    match stream.family {
        Family::Lossless => Some(0),
        Family::Aac => stream.edits.filter(|edits| edits.regular).map(|_| 2048),
        Family::Mpeg | Family::Vorbis | Family::Opus | Family::Other => None,
    }
}

/// By the time stamps of the container: WAV, AIFF, FLAC and MP4, where they are exact.
fn read_by_stamps(stream: &mut Stream<'_>, wanted: Wanted<'_>, interrupt: Interrupt<'_>) -> Result<Option<Audio>> {
    let (Some(pre_roll), Some(spec), Some(length)) = (pre_roll(stream), stream.spec(), stream.declared_samples())
    else {
        return Ok(None);
    };
    if stream.track.start_ts.get() > 0 {
        return Ok(None);
    }
    let (sample_rate_hz, num_channels) = spec;
    let (start, count) = wanted(sample_rate_hz)?;
    let integer = stream.is_integer();
    let found = |planes: Planes| Some(Audio { samples: planes.into_vec(), num_channels, sample_rate_hz, integer });
    let end = start.saturating_add(count).min(length);
    if start >= end {
        return Ok(found(Planes::new(num_channels, 0)));
    }
    if start <= pre_roll || !stream.seek(start - pre_roll) {
        return Ok(None);
    }
    let mut planes = Planes::new(num_channels, ((end - start) as usize).min(1 << 24));
    let mut own = FlacFrames::of(stream);
    let mut next = None; // where the coming packet must begin
    while start + (planes.num_samples() as u64) < end {
        interrupt()?;
        let place = match &mut own {
            Some(own) => own.advance(stream),
            None => stream.advance().ok().flatten(),
        };
        let Some(place) = place else { return Ok(None) };
        let (position, frames) = (place.position, place.num_frames as i64);
        if next.is_some_and(|next| next != position) || (next.is_none() && position > (start - pre_roll) as i64) {
            return Ok(None);
        }
        next = Some(position + frames);
        let wanted = (start as i64 + planes.num_samples() as i64, end as i64);
        let (lo, hi) = (wanted.0.max(position), wanted.1.min(position + frames));
        if lo < hi {
            if lo != wanted.0 {
                return Ok(None);
            }
            let (from, to) = ((lo - position) as usize, (hi - position) as usize);
            match &own {
                Some(own) => {
                    planes.append_with(&stream.name, to - from, |channel, row| own.frame.copy_to(channel, from, row))?
                }
                None => planes.append(&stream.name, &stream.decoded(), from, to)?,
            }
        }
    }
    Ok(found(planes))
}

/// Frames of a FLAC stream, decoded here.
struct FlacFrames {
    frame: FlacFrame,
    num_channels: usize,
    bits_per_sample: u32,
}

impl FlacFrames {
    /// None for other streams, and those that `FlacFrame` leaves to Symphonia.
    fn of(stream: &Stream<'_>) -> Option<Self> {
        let bits_per_sample = stream.decoder.codec_params().bits_per_sample.filter(|&bits| bits <= MAX_BITS)?;
        let (_, num_channels) = stream.spec().filter(|_| stream.codec() == "flac")?;
        Some(Self { frame: FlacFrame::default(), num_channels, bits_per_sample })
    }

    /// Decodes the next frame; None where anything is the matter.
    fn advance(&mut self, stream: &mut Stream<'_>) -> Option<Place> {
        let packet = stream.next_packet().ok()??;
        self.frame.decode(&packet.data, self.num_channels, self.bits_per_sample)?;
        Some(Place { position: stream.position(&packet), num_frames: self.frame.num_samples() })
    }
}
