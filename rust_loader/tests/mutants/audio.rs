//! What must hold of any bytes whatever: typed errors that name the file, bounded memory and work, and probe, whole
//! decode and segments that agree.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use _rust_loader::decode::{Audio, decode, probe};
use _rust_loader::error::{Error, Result};
use _rust_loader::segments::decode_segment;
use _rust_loader::stream::Source;

use crate::allocator::peak_bytes;
use crate::mutate::Random;

/// Live memory beyond which a file of at most 40 kB must not drive the decoders, over the samples that it really has:
/// room for tables, look-ahead and one lying header field.
const MAX_OVERHEAD_BYTES: usize = 64 << 20;
/// A growing buffer is copied to one of 1.5 times its size: 2.5 times the samples are live.
const BYTES_PER_SAMPLE: usize = 10;
/// Packets per byte of the file, twice over; a packet without bytes would be an endless loop.
const MAX_PACKETS_PER_BYTE: u64 = 2;

#[derive(Default)]
pub struct Seen {
    pub decoded: bool,
    pub probed: bool,
}

/// Checks one file of content `data`, written for this; the message says what does not hold. `name` must not come twice:
/// what is learnt about a file is kept by its name and times.
pub fn check(name: &str, data: &[u8], random: &mut Random) -> std::result::Result<Seen, String> {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", std::process::id(), name.replace(' ', "-")));
    std::fs::write(&path, data).map_err(|e| e.to_string())?;
    let seen = check_file(&path, data, random);
    std::fs::remove_file(&path).map_err(|e| e.to_string())?;
    seen
}

fn check_file(path: &Path, data: &[u8], random: &mut Random) -> std::result::Result<Seen, String> {
    let source = Source::File(path);
    let name = &source.name();
    let packets = AtomicU64::new(0);
    let budget = MAX_PACKETS_PER_BYTE * data.len() as u64 + 1000;
    let interrupt = || match packets.fetch_add(1, Ordering::Relaxed) {
        count if count > budget => Err(Error::Interrupted),
        _ => Ok(()),
    };
    let (info, probe_peak) = peak_bytes(|| probe(source, &interrupt));
    let info = typed("probe", name, info)?;
    packets.store(0, Ordering::Relaxed);
    let (whole, whole_peak) = peak_bytes(|| decode(source, &interrupt));
    let whole = typed("decode", name, whole)?;
    let num_values = whole.as_ref().map_or(0, |audio| audio.samples.len());
    let limit = MAX_OVERHEAD_BYTES + BYTES_PER_SAMPLE * num_values;
    let peak = probe_peak.max(whole_peak);
    if peak > limit {
        return Err(format!("{peak} bytes were live; the limit is {limit}"));
    }
    if let (Some(info), Some(audio)) = (&info, &whole) {
        let (said, found) = (info.num_samples.unwrap_or(audio.num_samples() as u64), audio.num_samples() as u64);
        let formats_differ = (info.sample_rate_hz, info.num_channels) != (audio.sample_rate_hz, audio.num_channels);
        if formats_differ || said != found {
            return Err(format!(
                "probe says {} Hz x {} x {said}, decode gives {} Hz x {} x {found}",
                info.sample_rate_hz, info.num_channels, audio.sample_rate_hz, audio.num_channels
            ));
        }
    }
    let length = whole.as_ref().map_or(2000, Audio::num_samples);
    for from_start in [false, false, true] {
        let (start, count) = (random.below(length + length / 8 + 1), random.below(length + 1));
        packets.store(0, Ordering::Relaxed);
        let (part, part_peak) =
            peak_bytes(|| decode_segment(source, start as u64, count as u64, from_start, &interrupt));
        let part = typed("segment", name, part)?;
        if part_peak > MAX_OVERHEAD_BYTES + BYTES_PER_SAMPLE * part.as_ref().map_or(0, |audio| audio.samples.len()) {
            return Err(format!("{part_peak} bytes were live for a segment of {count}"));
        }
        if let (Some(audio), Some(part)) = (&whole, &part) {
            same_slice(audio, part, start, count)?;
        }
    }
    Ok(Seen { decoded: whole.is_some(), probed: info.is_some() })
}

/// None for an error of the four kinds that names the file.
fn typed<T>(what: &str, name: &str, result: Result<T>) -> std::result::Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. } | Error::Limit { .. })) => {
            let message = error.to_string();
            if message.starts_with(&format!("{name}: ")) {
                Ok(None)
            } else {
                Err(format!("{what} forgets the name: {message}"))
            }
        }
        Err(Error::Interrupted) => Err(format!("{what} takes more packets than the file can hold")),
        Err(other) => Err(format!("{what} gives {other:?}")),
    }
}

fn same_slice(whole: &Audio, part: &Audio, start: usize, count: usize) -> std::result::Result<(), String> {
    let (lo, hi) = (start.min(whole.num_samples()), (start + count).min(whole.num_samples()));
    if (part.num_channels, part.num_samples()) != (whole.num_channels, hi - lo) {
        return Err(format!(
            "segment {start}+{count} is {} x {}, the whole has {} x {} there",
            part.num_channels,
            part.num_samples(),
            whole.num_channels,
            hi - lo
        ));
    }
    let bits = |audio: &Audio, channel: usize, from: usize, to: usize| -> Vec<u32> {
        let row = channel * audio.num_samples();
        audio.samples[row + from..row + to].iter().map(|x| x.to_bits()).collect()
    };
    for channel in 0..whole.num_channels {
        let (a, b) = (bits(whole, channel, lo, hi), bits(part, channel, 0, hi - lo));
        if let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) {
            return Err(format!(
                "segment {start}+{count} differs from the whole at its sample {at} of channel {channel}"
            ));
        }
    }
    Ok(())
}
