//! Which part of an MP4 file's AAC or ALAC samples is music: without the encoder's delay and padding, and what an edit
//! leaves out.
//!
//! Symphonia reads no edit lists. What counts here, in this order: iTunes' gapless entry (iTunSMPB: delay, padding and
//! length in samples); the edit list, when it has one edit (ISO/IEC 14496-12, section 8.6.6); the durations of the
//! packets (section 8.6.1.2), whose last one is shorter where the padding begins.

use std::io::{Read, Seek, SeekFrom};

/// Samples that an AAC-LC packet decodes to, whatever its duration.
pub const AAC_PACKET_SAMPLES: u64 = 1024;
/// An hour of AAC has a header of about 1 MiB; pictures may add some.
const MAX_HEADER_BYTES: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mp4Edits {
    /// Decoded samples before the first one of the music.
    pub skip: u64,
    /// Samples of music; None where the header does not say (fragmented files, clocks other than the sample rate).
    pub num_samples: Option<u64>,
    /// Every packet but the last stands for as many samples as it decodes to, so that its time stamp is its sample.
    pub regular: bool,
}

/// A box's type and content.
type Content<'a> = ([u8; 4], &'a [u8]);

impl Mp4Edits {
    /// None when there is no such track, or nothing to be learnt. `packet_samples`: what every packet decodes to; None
    /// where that is its duration (ALAC).
    pub fn read(mut media: impl Read + Seek, track_id: u32, rate_hz: u32, packet_samples: Option<u64>) -> Option<Self> {
        let moov = read_moov(&mut media)?;
        let movie_scale = clock(find(&moov, b"mvhd")?, 12, 20)?;
        let track = boxes(&moov)
            .filter(|(kind, _)| kind == b"trak")
            .map(|(_, content)| content)
            .find(|track| find(track, b"tkhd").and_then(|header| clock(header, 12, 20)) == Some(u64::from(track_id)))?;
        let media = find(track, b"mdia")?;
        let scale = clock(find(media, b"mdhd")?, 12, 20)?;
        let durations = find(find(find(media, b"minf")?, b"stbl")?, b"stts")?;
        let edit = find(track, b"edts").and_then(|edits| find(edits, b"elst")).and_then(single_edit);
        let rate = u64::from(rate_hz);
        let timing = Timing::read(durations, packet_samples).filter(|timing| scale == rate && timing.num_packets > 0);

        if let (Some(timing), Some(gapless)) = (timing, itunes_gapless(&moov)) {
            let (skip, num_samples) = gapless;
            if num_samples > 0 && skip.checked_add(num_samples)? <= timing.decoded {
                return Some(Self { skip, num_samples: Some(num_samples), regular: timing.regular });
            }
        }
        let skip = edit.map_or(0, |edit| to_samples(edit.start, rate, scale));
        let Some(timing) = timing else { return Some(Self { skip, num_samples: None, regular: false }) };
        let mut end = timing.duration.min(timing.decoded);
        if let Some(edit) = edit.filter(|edit| edit.duration > 0) {
            // The movie's clock is often coarse: an end within one tick of the last packet's is that packet's.
            let tick = rate.div_ceil(movie_scale.max(1));
            let edit_end = skip.saturating_add(to_samples(edit.duration, rate, movie_scale));
            if edit_end.saturating_add(tick) < end {
                end = edit_end;
            }
        }
        let num_samples = end.checked_sub(skip).filter(|&samples| samples > 0)?;
        Some(Self { skip, num_samples: Some(num_samples), regular: timing.regular })
    }
}

/// The table of packet durations (stts), summed.
#[derive(Clone, Copy)]
struct Timing {
    num_packets: u64,
    duration: u64,
    /// Samples that all packets decode to.
    decoded: u64,
    regular: bool,
}

impl Timing {
    fn read(stts: &[u8], packet_samples: Option<u64>) -> Option<Self> {
        let count = u32_at(stts, 4)? as usize;
        let mut timing = Self { num_packets: 0, duration: 0, decoded: 0, regular: true };
        let entries = stts.get(8..8usize.checked_add(count.checked_mul(8)?)?)?;
        for (index, entry) in entries.chunks_exact(8).enumerate() {
            let (packets, duration) = (u64::from(u32_at(entry, 0)?), u64::from(u32_at(entry, 4)?));
            let samples = packet_samples.unwrap_or(duration);
            let last = index + 1 == count && packets == 1 && duration <= samples;
            timing.regular &= duration == samples || last;
            timing.num_packets += packets;
            timing.duration = timing.duration.checked_add(packets * duration)?;
            timing.decoded = timing.decoded.checked_add(packets * samples)?;
        }
        Some(timing)
    }
}

#[derive(Clone, Copy)]
struct Edit {
    /// In ticks of the movie's clock; 0 when it is unknown.
    duration: u64,
    /// In ticks of the track's clock.
    start: u64,
}

/// The one edit that shows the track; None when there are several. Empty edits only delay it.
fn single_edit(elst: &[u8]) -> Option<Edit> {
    let wide = *elst.first()? == 1;
    let entry_bytes = if wide { 20 } else { 12 };
    let count = u32_at(elst, 4)? as usize;
    let entries = elst.get(8..8usize.checked_add(count.checked_mul(entry_bytes)?)?)?;
    let mut shown = None;
    for entry in entries.chunks_exact(entry_bytes) {
        let (duration, start) = if wide {
            (u64_at(entry, 0)?, u64_at(entry, 8)? as i64)
        } else {
            (u64::from(u32_at(entry, 0)?), i64::from(u32_at(entry, 4)? as i32))
        };
        if let Ok(start) = u64::try_from(start)
            && shown.replace(Edit { duration, start }).is_some()
        {
            return None;
        }
    }
    shown
}

/// Delay and length from iTunes' entry: hexadecimal words, of which the second, third and fourth are delay, padding and
/// length.
fn itunes_gapless(moov: &[u8]) -> Option<(u64, u64)> {
    let meta = find(find(moov, b"udta")?, b"meta")?;
    let list = find(meta.get(4..)?, b"ilst")?;
    let entry = boxes(list)
        .filter(|(kind, _)| kind == b"----")
        .map(|(_, content)| content)
        .find(|entry| find(entry, b"name").is_some_and(|name| name.get(4..).is_some_and(|name| name == b"iTunSMPB")))?;
    let text = std::str::from_utf8(find(entry, b"data")?.get(8..)?).ok()?;
    let mut words = text.split_ascii_whitespace().skip(1).map(|word| u64::from_str_radix(word, 16).ok());
    let (delay, _padding, length) = (words.next()??, words.next()??, words.next()??);
    Some((delay, length))
}

/// The content of the moov box, wherever in the file it is.
fn read_moov(media: &mut (impl Read + Seek)) -> Option<Vec<u8>> {
    let mut at = 0u64;
    loop {
        media.seek(SeekFrom::Start(at)).ok()?;
        let mut header = [0u8; 16];
        media.read_exact(&mut header[..8]).ok()?;
        let (mut size, mut head) = (u64::from(u32_at(&header, 0)?), 8);
        if size == 1 {
            media.read_exact(&mut header[8..]).ok()?;
            (size, head) = (u64_at(&header, 8)?, 16);
        }
        if &header[4..8] == b"moov" {
            let bytes = size.checked_sub(head).filter(|&bytes| bytes <= MAX_HEADER_BYTES)?;
            let mut moov = Vec::new();
            media.take(bytes).read_to_end(&mut moov).ok()?;
            return Some(moov);
        }
        at = at.checked_add(size.max(head)).filter(|_| size >= head)?;
    }
}

/// The boxes that follow each other in `content`; ends where it is damaged.
fn boxes(mut content: &[u8]) -> impl Iterator<Item = Content<'_>> {
    std::iter::from_fn(move || {
        let size = u32_at(content, 0)? as usize;
        let kind: [u8; 4] = content.get(4..8)?.try_into().ok()?;
        let body = content.get(8..size)?;
        content = &content[size..];
        Some((kind, body))
    })
}

fn find<'a>(content: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(content).find(|(kind, _)| kind == wanted).map(|(_, body)| body)
}

/// The 32-bit field that lies at `narrow` in version 0 of a header and at `wide` in version 1.
fn clock(header: &[u8], narrow: usize, wide: usize) -> Option<u64> {
    u32_at(header, if *header.first()? == 1 { wide } else { narrow }).map(u64::from)
}

fn to_samples(ticks: u64, rate: u64, scale: u64) -> u64 {
    let scale = u128::from(scale.max(1));
    u64::try_from((u128::from(ticks) * u128::from(rate) + scale / 2) / scale).unwrap_or(u64::MAX)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), &body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// An MP4 file of one track, number 1, whose movie clock ticks in milliseconds.
    fn movie(scale: u32, durations: &[(u32, u32)], edits: &[(u32, i32)], gapless: Option<&str>) -> Cursor<Vec<u8>> {
        let clock = |scale: u32| words(&[0, 0, 0, scale, 0]);
        let table = durations.iter().flat_map(|&(count, delta)| words(&[count, delta])).collect::<Vec<_>>();
        let stts = boxed(b"stts", &[&words(&[0, durations.len() as u32]), &table]);
        let stbl = boxed(b"minf", &[&boxed(b"stbl", &[&stts])]);
        let mdia = boxed(b"mdia", &[&boxed(b"mdhd", &[&clock(scale)]), &stbl]);
        let list =
            edits.iter().flat_map(|&(duration, start)| words(&[duration, start as u32, 0x10000])).collect::<Vec<_>>();
        let elst = boxed(b"elst", &[&words(&[0, edits.len() as u32]), &list]);
        let edts = if edits.is_empty() { Vec::new() } else { boxed(b"edts", &[&elst]) };
        let trak = boxed(b"trak", &[&boxed(b"tkhd", &[&words(&[0, 0, 0, 1, 0])]), &edts, &mdia]);
        let udta = gapless.map_or(Vec::new(), |text| {
            let name = boxed(b"name", &[&[0; 4], b"iTunSMPB"]);
            let entry = boxed(b"----", &[&name, &boxed(b"data", &[&[0; 8], text.as_bytes()])]);
            boxed(b"udta", &[&boxed(b"meta", &[&[0; 4], &boxed(b"ilst", &[&entry])])])
        });
        let moov = boxed(b"moov", &[&boxed(b"mvhd", &[&clock(1000)]), &trak, &udta]);
        Cursor::new([boxed(b"ftyp", &[b"M4A "]), boxed(b"mdat", &[&[0; 99]]), moov].concat())
    }

    fn read(movie: Cursor<Vec<u8>>) -> Option<(u64, Option<u64>, bool)> {
        Mp4Edits::read(movie, 1, 44_100, Some(1024)).map(|edits| (edits.skip, edits.num_samples, edits.regular))
    }

    #[test]
    fn as_ffmpeg_writes_them() {
        let movie = movie(44_100, &[(147, 1024), (1, 497)], &[(3401, 1024)], None);
        assert_eq!(read(movie), Some((1024, Some(150_001), true)));
    }

    #[test]
    fn as_itunes_writes_them() {
        let text = " 00000000 00000840 000001CA 00000000000249F1 00000000 00000000";
        let gapless = movie(44_100, &[(150, 1024)], &[(3401, 2112)], Some(text));
        assert_eq!(read(gapless), Some((2112, Some(150_001), true)));
        let beyond_the_end = movie(44_100, &[(100, 1024)], &[], Some(text));
        assert_eq!(read(beyond_the_end), Some((0, Some(102_400), true)));
    }

    #[test]
    fn an_edit_that_ends_early_counts() {
        let movie = movie(44_100, &[(148, 1024)], &[(1000, 2048)], None);
        assert_eq!(read(movie), Some((2048, Some(44_100), true)));
    }

    #[test]
    fn empty_edits_delay_and_several_edits_are_not_followed() {
        let delayed = movie(44_100, &[(148, 1024)], &[(500, -1), (0, 1024)], None);
        assert_eq!(read(delayed), Some((1024, Some(147 * 1024), true)));
        let spliced = movie(44_100, &[(148, 1024)], &[(500, 1024), (500, 90_000)], None);
        assert_eq!(read(spliced), Some((0, Some(148 * 1024), true)));
    }

    #[test]
    fn packets_that_decode_to_their_duration() {
        let alac = |edits: &[(u32, i32)], gapless| {
            let movie = movie(44_100, &[(26, 4096), (1, 2545)], edits, gapless);
            Mp4Edits::read(movie, 1, 44_100, None).map(|edits| (edits.skip, edits.num_samples, edits.regular))
        };
        assert_eq!(alac(&[], None), Some((0, Some(109_041), true)));
        assert_eq!(alac(&[(2392, 3581)], None), Some((3581, Some(105_460), true))); // as ffmpeg -ss cuts
        assert_eq!(alac(&[(1000, 3581)], None), Some((3581, Some(44_100), true)));
        let text = " 00000000 00000840 00000000 000186A0";
        assert_eq!(alac(&[(2392, 3581)], Some(text)), Some((2112, Some(100_000), true)));
    }

    #[test]
    fn other_clocks_and_gaps() {
        let halved = movie(22_050, &[(148, 512)], &[(0, 512)], None);
        assert_eq!(read(halved), Some((1024, None, false)));
        let gap = movie(44_100, &[(100, 1024), (1, 5000), (47, 1024)], &[], None);
        assert_eq!(read(gap).map(|(_, _, regular)| regular), Some(false));
    }

    #[test]
    fn damage_is_no_panic() {
        let text = " 00000000 00000840 000001CA 00000000000249F1";
        let whole = movie(44_100, &[(147, 1024), (1, 497)], &[(3401, 1024)], Some(text)).into_inner();
        for cut in 0..whole.len() {
            Mp4Edits::read(Cursor::new(&whole[..cut]), 1, 44_100, None);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 127, 255] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                Mp4Edits::read(Cursor::new(damaged), 1, 44_100, None);
            }
        }
    }
}
