//! Rational resampling by a polyphase windowed sinc. Outputs are addressed absolutely, so a part of the input with enough
//! context gives the bits of the whole.

use std::ops::Range;
use std::sync::Arc;

use crate::decode::Interrupt;
use crate::error::Result;
use crate::filter::{self, Preset};
use crate::kernels::Fir;
use crate::memory::zeros;

/// No file has as many samples.
const ENDLESS: u64 = 1 << 60;
/// Between two looks at whether the caller was interrupted: some milliseconds.
const BLOCK_OUTPUTS: usize = 1 << 18;

/// Output m of the whole lies at input m * from / to; its taps are samples around that.
pub struct Resampler {
    from: u64,
    to: u64,
    /// None where the rates are equal, and samples stay as they are.
    fir: Option<Arc<Fir>>,
}

impl Resampler {
    pub fn new(preset: Preset, from_hz: u32, to_hz: u32) -> Result<Self> {
        let (from, to) = filter::reduce(from_hz, to_hz)?;
        let fir = if from == to { None } else { Some(filter::get(preset, from, to)?) };
        Ok(Self { from: from.into(), to: to.into(), fir })
    }

    /// Exactly floor(num_inputs * to / from). julius rounds the quotient to float32 first and so gives one sample more
    /// for some lengths (2.9 % of those around 30 s at 44.1 -> 32 kHz).
    pub fn num_outputs(&self, num_inputs: u64) -> u64 {
        (u128::from(num_inputs) * u128::from(self.to) / u128::from(self.from)).min(u64::MAX.into()) as u64
    }

    /// Inputs that outputs `start .. start + count` depend on, of a whole that ends where no file does: at 2^60 inputs
    /// or outputs. What is asked for beyond that depends on none.
    pub fn inputs(&self, start: u64, count: u64) -> Range<u64> {
        let end = start.saturating_add(count).min(self.num_outputs(ENDLESS)).min(ENDLESS);
        match &self.fir {
            _ if start >= end => 0..0,
            None => start..end,
            Some(fir) => {
                let first = fir.first_input(start).max(0) as u64;
                first..(fir.first_input(end - 1) + fir.num_taps() as i64).max(0) as u64
            }
        }
    }

    /// Outputs `start ..` into `out`, of a whole whose sample number p is x[p - origin]. `x` must hold `inputs(..)`, or
    /// begin or end where the whole does: its first and last sample stand for those before and after it.
    pub fn apply(&self, x: &[f32], origin: u64, start: u64, out: &mut [f32], interrupt: Interrupt<'_>) -> Result<()> {
        for (block, out) in out.chunks_mut(BLOCK_OUTPUTS).enumerate() {
            interrupt()?;
            self.apply_block(x, origin, start + (block * BLOCK_OUTPUTS) as u64, out);
        }
        Ok(())
    }

    fn apply_block(&self, x: &[f32], origin: u64, start: u64, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        let Some(fir) = &self.fir else {
            return out.copy_from_slice(&x[(start - origin) as usize..][..out.len()]);
        };
        let (begin, end) = (origin as i64, origin as i64 + x.len() as i64);
        let first_where = |wanted: &dyn Fn(i64) -> bool| partition(start, out.len(), |m| !wanted(fir.first_input(m)));
        let head = first_where(&|first| first >= begin);
        let tail = first_where(&|first| first + fir.num_taps() as i64 > end).max(head);
        for edge in [0..head, tail..out.len()] {
            apply_replicated(fir, x, begin, start + edge.start as u64, &mut out[edge]);
        }
        fir.apply(x, begin, start + head as u64, &mut out[head..tail]);
    }
}

/// Number of the first of outputs `start .. start + len`, counted from `start`, for which `before` no longer holds.
fn partition(start: u64, len: usize, before: impl Fn(u64) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(start + middle as u64) { low = middle + 1 } else { high = middle }
    }
    low
}

/// `Fir::apply` on a copy of what it reads, with the ends of `x` repeated as often as needed.
fn apply_replicated(fir: &Fir, x: &[f32], origin: i64, start: u64, out: &mut [f32]) {
    let Some(last) = out.len().checked_sub(1) else { return };
    let from = fir.first_input(start);
    let to = fir.first_input(start + last as u64) + fir.num_taps() as i64;
    let at = |p: i64| x[(p - origin).clamp(0, x.len() as i64 - 1) as usize];
    let padded: Vec<f32> = (from..to).map(at).collect();
    fir.apply(&padded, from, start, out);
}

/// Planar [num_channels, num_samples] -> [num_channels, num_outputs].
pub fn resample(
    x: &[f32],
    num_channels: usize,
    preset: Preset,
    from_hz: u32,
    to_hz: u32,
    interrupt: Interrupt<'_>,
) -> Result<Vec<f32>> {
    let resampler = Resampler::new(preset, from_hz, to_hz)?;
    let num_samples = x.len() / num_channels;
    let num_outputs = resampler.num_outputs(num_samples as u64) as usize;
    let mut out = zeros("resample", num_channels * num_outputs)?;
    if num_outputs > 0 {
        for (x, out) in x.chunks_exact(num_samples).zip(out.chunks_exact_mut(num_outputs)) {
            resampler.apply(x, 0, 0, out, interrupt)?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place of a segment, with just the context that `inputs` names, in a whole short enough to have both ends in
    /// reach and in one long enough for tiles.
    #[test]
    fn a_segment_with_its_context_has_the_bits_of_the_whole() {
        let x: Vec<f32> = (0..40_000).map(|i| ((i * i) as f32 * 0.001).sin()).collect();
        for preset in [Preset::Julius24, Preset::Hq] {
            for (from, to) in [(44_100, 32_000), (48_000, 32_000), (11_025, 24_000), (96_000, 44_100), (32_003, 32_009)]
            {
                let resampler = Resampler::new(preset, from, to).unwrap();
                for x in [&x[..], &x[..300], &x[..1]] {
                    let mut whole = vec![0.0; resampler.num_outputs(x.len() as u64) as usize];
                    resampler.apply(x, 0, 0, &mut whole, &|| Ok(())).unwrap();
                    for start in [0, 1, whole.len() / 3, whole.len().saturating_sub(200)] {
                        for count in [0, 1, 200, whole.len() / 2] {
                            let count = count.min(whole.len().saturating_sub(start));
                            let inputs = resampler.inputs(start as u64, count as u64);
                            let (a, b) = (inputs.start.min(x.len() as u64), inputs.end.min(x.len() as u64));
                            let mut part = vec![f32::NAN; count];
                            let x = &x[a as usize..b as usize];
                            resampler.apply(x, a, start as u64, &mut part, &|| Ok(())).unwrap();
                            let expected = &whole[start.min(whole.len())..][..count];
                            assert!(part.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_are_exact() {
        let resampler = |from, to| Resampler::new(Preset::Julius24, from, to).unwrap();
        assert_eq!(resampler(44_100, 32_000).num_outputs(90_682), 65_800); // 65800.45...: julius gives one more
        assert_eq!(resampler(44_100, 32_000).num_outputs(441), 320);
        assert_eq!(resampler(44_100, 32_000).num_outputs(0), 0);
        assert_eq!(resampler(1, 192_000).num_outputs(3), 3 * 192_000);
    }

    #[test]
    fn what_no_file_has_is_cut_off_and_the_rest_stays() {
        for (from, to) in [(44_100, 32_000), (1, 192_000), (192_000, 1), (32_000, 32_000)] {
            let resampler = Resampler::new(Preset::Julius24, from, to).unwrap();
            assert_eq!(resampler.inputs(u64::MAX, 1), 0..0);
            assert_eq!(resampler.inputs(1 << 62, 1 << 60), 0..0);
            for count in [1 << 40, 1 << 60, 1 << 61, i64::MAX as u64, u64::MAX] {
                for start in [0, 5, 1 << 30] {
                    let (few, all) = (resampler.inputs(start, 1000), resampler.inputs(start, count));
                    assert_eq!(all.start, few.start);
                    assert!(all.end >= few.end && all.end <= 1 << 61, "{all:?}");
                }
            }
        }
    }
}
