//! Part of a file, bit-equal to the same slice of its whole decode: by seeking with a pre-roll where that is proven,
//! from the start otherwise.

use crate::decode::{Audio, Interrupt, Opened, Range, finish, guard, open, read_range};
use crate::error::Result;
use crate::planes::Planes;
use crate::stream::{Family, Source, Stream};

/// Samples to decode and drop before a segment so that the decoder's state no longer depends on where it began; None
/// where that never holds (AAC draws noise, Opus converges but is not bit-equal) or where another file
/// does it (MPEG audio, src/mpeg.rs). Vorbis: the largest block.
fn pre_roll(family: Family) -> Option<u64> {
    match family {
        Family::Lossless => Some(0),
        Family::Vorbis => Some(8192),
        Family::Mpeg | Family::Opus | Family::Aac | Family::Other => None,
    }
}

/// Samples `start .. start + count` of the file's own rate; fewer at its end, none beyond it.
pub fn decode_segment(source: Source<'_>, start: u64, count: u64, interrupt: Interrupt<'_>) -> Result<Audio> {
    guard(&source.name(), || {
        let mut stream = match open(source, false)? {
            Opened::Stream(stream) => stream,
            Opened::Mpeg(mut mpeg) => return Ok(mpeg.read(start, count, interrupt)?.into_audio()),
        };
        let range = match read_by_seeking(&mut stream, start, count, interrupt)? {
            Some(found) => found,
            None => {
                stream = Stream::open(source, false)?;
                read_range(&mut stream, start, Some(count), interrupt)?
            }
        };
        finish(range, &stream.name, start)
    })
}

/// None when anything speaks against it: the caller then reads from the start.
fn read_by_seeking(stream: &mut Stream<'_>, start: u64, count: u64, interrupt: Interrupt<'_>) -> Result<Option<Range>> {
    let (Some(pre_roll), Some(spec), Some(length)) =
        (pre_roll(stream.family), stream.spec(), stream.declared_samples())
    else {
        return Ok(None);
    };
    if stream.track.start_ts.get() > 0 {
        return Ok(None);
    }
    let (sample_rate_hz, num_channels) = spec;
    let found = |planes| Some(Range { planes, sample_rate_hz, num_channels, jumps: 0 });
    let end = start.saturating_add(count).min(length);
    if start >= end {
        return Ok(found(Planes::new(num_channels, 0)));
    }
    let contiguous = stream.family != Family::Vorbis || stream.is_contiguous_to(end)?;
    if start <= pre_roll || !contiguous || !stream.seek(start - pre_roll) {
        return Ok(None);
    }
    let mut planes = Planes::new(num_channels, ((end - start) as usize).min(1 << 24));
    let mut next = None; // where the coming packet must begin
    while start + (planes.num_samples() as u64) < end {
        interrupt()?;
        let Ok(Some(place)) = stream.advance() else { return Ok(None) };
        let (position, frames) = (place.position, place.num_frames as i64);
        if next.is_some_and(|next| next != position) || (next.is_none() && position > (start - pre_roll) as i64 + 8192)
        {
            return Ok(None);
        }
        next = Some(position + frames);
        let wanted = (start as i64 + planes.num_samples() as i64, end as i64);
        let (lo, hi) = (wanted.0.max(position), wanted.1.min(position + frames));
        if lo < hi {
            if lo != wanted.0 {
                return Ok(None);
            }
            planes.append(&stream.name, &stream.decoded(), (lo - position) as usize, (hi - position) as usize)?;
        }
    }
    Ok(found(planes))
}
