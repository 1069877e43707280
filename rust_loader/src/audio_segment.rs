//! Part of a file at a rate and number of channels of choice: decoded, mixed and resampled in one go, bit-equal to the
//! same slice of the whole file so treated.

use std::ops::Range;

use crate::decode::{Audio, Interrupt};
use crate::error::{Error, Result};
use crate::filter::Preset;
use crate::kernels;
use crate::memory::rest;
use crate::resample::Resampler;
use crate::segments::decode_wanted;
use crate::stream::Source;

/// What a segment is brought to.
pub struct Form {
    pub sample_rate_hz: u32,
    pub num_channels: usize,
    pub preset: Preset,
}

/// A decoded and mixed segment that waits to be resampled into its place.
pub struct Segment {
    /// [at least num_rows, num_inputs]: one row per channel, or one for all of them.
    rows: Vec<f32>,
    num_rows: usize,
    num_inputs: usize,
    /// The file's sample that each row begins with.
    origin: u64,
    start: u64,
    num_samples: usize,
    num_channels: usize,
    resampler: Resampler,
}

/// Samples `start .. start + count` at the form's rate; fewer at the file's end, none beyond it.
pub fn read_segment(
    source: Source<'_>,
    start: u64,
    count: u64,
    form: &Form,
    interrupt: Interrupt<'_>,
) -> Result<Segment> {
    let plan = |rate_hz: u32| -> Result<(Resampler, Range<u64>)> {
        let resampler = Resampler::new(form.preset, rate_hz, form.sample_rate_hz)?;
        let inputs = resampler.inputs(start, count);
        Ok((resampler, inputs))
    };
    let ask = |rate_hz| plan(rate_hz).map(|(_, inputs)| (inputs.start, inputs.end - inputs.start));
    let audio = decode_wanted(source, &ask, form.num_channels == 1, false, interrupt)?;
    let (resampler, inputs) = plan(audio.sample_rate_hz)?;
    let wanted = inputs.end - inputs.start;
    let num_inputs = audio.num_samples();
    let num_samples = if (num_inputs as u64) < wanted {
        resampler.num_outputs(inputs.start + num_inputs as u64).saturating_sub(start).min(count) // the file ends here
    } else if wanted > 0 {
        count
    } else {
        0
    };
    let (rows, num_rows) = mix(audio, form.num_channels, &source)?;
    Ok(Segment {
        rows,
        num_rows,
        num_inputs,
        origin: inputs.start,
        start,
        num_samples: if num_inputs > 0 { num_samples as usize } else { 0 },
        num_channels: form.num_channels,
        resampler,
    })
}

impl Segment {
    pub fn num_samples(&self) -> usize {
        self.num_samples
    }

    /// Fills the beginnings of `num_channels` rows of `out`, each `stride` long, and the rest with 0.
    pub fn write(&self, out: &mut [f32], stride: usize, interrupt: Interrupt<'_>) -> Result<()> {
        assert!(out.len() == self.num_channels * stride && self.num_samples <= stride);
        if stride == 0 {
            return Ok(());
        }
        for channel in 0..self.num_channels {
            let (before, row) = out[..(channel + 1) * stride].split_at_mut(channel * stride);
            match self.rows.chunks_exact(self.num_inputs.max(1)).take(self.num_rows).nth(channel) {
                Some(x) => {
                    let row = &mut row[..self.num_samples];
                    self.resampler.apply(x, self.origin, self.start, row, interrupt)?;
                }
                None if channel > 0 => row.copy_from_slice(&before[..stride]), // mono, repeated
                None => {}
            }
            row[self.num_samples..].fill(0.0);
        }
        Ok(())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        rest(std::mem::take(&mut self.rows));
    }
}

/// AudioCraft's rules: mean to mono, mono repeated (later, when it is resampled), the first channels kept. -> (planar
/// samples, how many rows of them count)
fn mix(audio: Audio, num_channels: usize, source: &Source<'_>) -> Result<(Vec<f32>, usize)> {
    let (have, mut samples) = (audio.num_channels, audio.samples);
    match num_channels {
        1 if have > 1 => kernels::mix_in_place(&mut samples, have),
        1.. if have == 1 || num_channels <= have => {}
        _ => {
            return Err(Error::value(format!(
                "{}: cannot make {num_channels} channels of {have}; choose 1, or at most {have}",
                source.name()
            )));
        }
    }
    Ok((samples, num_channels.min(have)))
}
