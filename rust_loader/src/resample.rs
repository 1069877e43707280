//! Rational resampling by a polyphase windowed sinc. The filter table is built once per pair of rates; the kernel
//! addresses outputs absolutely, so a segment with enough context gives the bits of the whole.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::kernels::Fir;
use crate::memory::zeros;
use crate::stream::MAX_SAMPLE_RATE_HZ;

/// 64 MiB for one table and for all that are kept; a pair of rates without common factors reaches it near 300 kHz.
const MAX_TABLE_WEIGHTS: usize = 1 << 24;

/// Between two looks at whether the caller was interrupted: some milliseconds.
const BLOCK_OUTPUTS: usize = 1 << 18;

type Key = (u32, u32);
static TABLES: LazyLock<Mutex<HashMap<Key, Arc<Table>>>> = LazyLock::new(Default::default);

/// Filter of one pair of rates, in lowest terms: `step` input samples give `num_phases` outputs.
pub struct Table {
    step: usize,
    num_phases: usize,
    /// [num_phases, num_taps]
    weights: Vec<f32>,
    /// Input sample of each phase's first tap, relative to the block's first sample.
    first_tap: Vec<i32>,
}

impl Table {
    pub fn get(from_hz: u32, to_hz: u32) -> Result<Arc<Self>> {
        for (what, rate) in [("from_hz", from_hz), ("to_hz", to_hz)] {
            if !(1..=MAX_SAMPLE_RATE_HZ).contains(&rate) {
                return Err(Error::value(format!("{what} is {rate}; it must be in 1..={MAX_SAMPLE_RATE_HZ}")));
            }
        }
        let divisor = gcd(from_hz, to_hz);
        let key = (from_hz / divisor, to_hz / divisor);
        // Never waits: a fork while another thread held the lock would leave it locked for ever in the child.
        if let Some(table) = TABLES.try_lock().ok().and_then(|tables| tables.get(&key).cloned()) {
            return Ok(table);
        }
        let table = Arc::new(Self::build(key.0, key.1)?);
        let Ok(mut tables) = TABLES.try_lock() else { return Ok(table) };
        if tables.values().map(|kept| kept.weights.len()).sum::<usize>() + table.weights.len() > MAX_TABLE_WEIGHTS {
            tables.clear();
        }
        tables.insert(key, table.clone());
        Ok(table)
    }

    /// julius 0.2.8 `ResampleFrac` with zeros = 24 and rolloff = 0.945 (what AudioCraft uses): phase i of `to` weighs
    /// input j by sinc(pi t) cos^2(pi t / 48) at t = c (j / from - i / to), c = 0.945 min(from, to), each phase
    /// normalised to sum 1. Taps where the window is zero are left out. julius computes t in float32, which moves the
    /// output by up to 5e-6, so it is done here as well; the rest is in double until it is stored.
    fn build(from: u32, to: u32) -> Result<Self> {
        const ZEROS: f64 = 24.0;
        let cutoff = 0.945 * f64::from(from.min(to));
        let reach = ZEROS * f64::from(from) / cutoff; // in input samples, to either side
        let num_taps = (2.0 * reach).floor() as usize + 1;
        let num_taps = num_taps.next_multiple_of(8);
        if num_taps * to as usize > MAX_TABLE_WEIGHTS {
            let message = format!("resampling {from}:{to} needs {num_taps} x {to} filter taps; choose closer rates");
            return Err(Error::limit("resample", message));
        }
        let mut weights = Vec::with_capacity(num_taps * to as usize);
        let mut first_tap = Vec::with_capacity(to as usize);
        let mut phase_weights = vec![0f64; num_taps];
        for phase in 0..to {
            let first = (f64::from(phase) * f64::from(from) / f64::from(to) - reach).ceil() as i32;
            let offset = -(f64::from(phase) / f64::from(to)) as f32;
            for (tap, weight) in phase_weights.iter_mut().enumerate() {
                let t = ((first + tap as i32) as f32 / from as f32 + offset) * cutoff as f32;
                let x = f64::from(t * std::f32::consts::PI);
                *weight = if f64::from(t.abs()) < ZEROS { sinc(x) * (x / (2.0 * ZEROS)).cos().powi(2) } else { 0.0 };
            }
            let sum: f64 = phase_weights.iter().sum();
            weights.extend(phase_weights.iter().map(|w| (w / sum) as f32));
            first_tap.push(first);
        }
        Ok(Self { step: from as usize, num_phases: to as usize, weights, first_tap })
    }

    /// Exactly floor(num_samples * to / from). julius rounds the quotient to float32 first and so gives one sample more
    /// for some lengths (2.9 % of those around 30 s at 44.1 -> 32 kHz).
    pub fn output_len(&self, num_samples: usize) -> usize {
        (num_samples as u128 * self.num_phases as u128 / self.step as u128) as usize
    }

    /// One channel into `out`, whose length is `output_len(x.len())`; the ends are replicated.
    pub fn apply(&self, x: &[f32], out: &mut [f32], interrupt: Interrupt<'_>) -> Result<()> {
        if x.is_empty() || out.is_empty() {
            return Ok(());
        }
        let num_taps = self.weights.len() / self.num_phases;
        let taps = || self.first_tap.iter().map(|&tap| i64::from(tap));
        let left = taps().min().map_or(0, |tap| -tap.min(0)) as usize;
        let right = self.step + taps().max().map_or(0, |tap| tap.max(0)) as usize + num_taps;
        let mut padded = Vec::with_capacity(left + x.len() + right);
        padded.resize(left, x[0]);
        padded.extend_from_slice(x);
        padded.resize(left + x.len() + right, x[x.len() - 1]);
        for (block, out) in out.chunks_mut(BLOCK_OUTPUTS).enumerate() {
            interrupt()?;
            self.fir().apply(&padded, -(left as i64), (block * BLOCK_OUTPUTS) as u64, out);
        }
        Ok(())
    }

    pub fn fir(&self) -> Fir<'_> {
        Fir { weights: &self.weights, first_tap: &self.first_tap, step: self.step }
    }
}

/// Planar [num_channels, num_samples] -> [num_channels, output_len].
pub fn resample(
    x: &[f32],
    num_channels: usize,
    from_hz: u32,
    to_hz: u32,
    interrupt: Interrupt<'_>,
) -> Result<Vec<f32>> {
    let table = Table::get(from_hz, to_hz)?;
    if from_hz == to_hz {
        return Ok(x.to_vec());
    }
    let num_samples = x.len() / num_channels;
    let num_outputs = table.output_len(num_samples);
    let mut out = zeros("resample", num_channels * num_outputs)?;
    if num_outputs > 0 {
        for (x, out) in x.chunks_exact(num_samples).zip(out.chunks_exact_mut(num_outputs)) {
            table.apply(x, out, interrupt)?;
        }
    }
    Ok(out)
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_with_context_has_the_bits_of_the_whole() {
        let x: Vec<f32> = (0..20_000).map(|i| ((i * i) as f32 * 0.001).sin()).collect();
        for (from, to) in [(44_100, 32_000), (48_000, 32_000), (22_050, 32_000), (32_000, 44_100)] {
            let table = Table::get(from, to).unwrap();
            let mut whole = vec![0.0; table.output_len(x.len())];
            table.apply(&x, &mut whole, &|| Ok(())).unwrap();
            let (first_input, first_output) = (5000i64, whole.len() / 2);
            let mut part = vec![0.0; 300];
            table.fir().apply(&x[first_input as usize..], first_input, first_output as u64, &mut part);
            assert!(part.iter().zip(&whole[first_output..]).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn lengths_are_exact() {
        let table = Table::get(44_100, 32_000).unwrap();
        assert_eq!(table.output_len(90_682), 65_800); // 65800.45...: julius gives one more at such lengths
        assert_eq!(table.output_len(441), 320);
        assert_eq!(table.output_len(0), 0);
        assert_eq!(Table::get(1, 192_000).unwrap().output_len(3), 3 * 192_000);
    }

    #[test]
    fn absurd_pairs_are_refused() {
        assert!(matches!(Table::get(0, 32_000), Err(Error::Value(_))));
        assert!(matches!(Table::get(768_001, 32_000), Err(Error::Value(_))));
        assert!(matches!(Table::get(767_999, 768_000), Err(Error::Limit { .. })));
    }
}
