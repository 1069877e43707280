//! The filters that resampling is done with: windowed sincs, tabulated once per preset and pair of rates.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::{Arc, LazyLock, Mutex};

use crate::error::{Error, Result};
use crate::kernels::Fir;
use crate::stream::MAX_SAMPLE_RATE_HZ;

/// 64 MiB for one table and for all that are kept; a pair of rates without common factors reaches it near 300 kHz.
const MAX_TABLE_WEIGHTS: usize = 1 << 24;

/// Which windowed sinc.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Preset {
    /// AudioCraft's: julius 0.2.8 `ResampleFrac` with zeros = 24 and rolloff = 0.945.
    Julius24,
    /// Flat to 0.94 of the band edge (the lower rate's Nyquist frequency) and 100 dB down from the edge on.
    Hq,
}

impl Preset {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "julius24" => Ok(Self::Julius24),
            "hq" => Ok(Self::Hq),
            _ => Err(Error::value(format!("unknown preset {name:?}; there are julius24 and hq"))),
        }
    }

    /// Zero crossings of the sinc to either side.
    fn zeros(self) -> f64 {
        match self {
            Self::Julius24 => 24.0,
            Self::Hq => 80.0,
        }
    }

    /// Where the sinc alone would cut, relative to the band edge.
    fn rolloff(self) -> f64 {
        match self {
            Self::Julius24 => 0.945,
            Self::Hq => 0.9605,
        }
    }
}

type Key = (Preset, u32, u32);
static FILTERS: LazyLock<Mutex<HashMap<Key, Arc<Fir>>>> = LazyLock::new(Default::default);

/// Makes the table of filters, so that no fork can come in the midst of it.
pub fn prepare() {
    LazyLock::force(&FILTERS);
}

/// The filter from one rate to another, both divided by what they have in common.
pub fn get(preset: Preset, from: u32, to: u32) -> Result<Arc<Fir>> {
    let key = (preset, from, to);
    // Never waits: a fork while another thread held the lock would leave it locked for ever in the child.
    if let Some(filter) = FILTERS.try_lock().ok().and_then(|filters| filters.get(&key).cloned()) {
        return Ok(filter);
    }
    let filter = Arc::new(build(preset, from, to)?);
    let Ok(mut filters) = FILTERS.try_lock() else { return Ok(filter) };
    if filters.values().map(|kept| kept.num_weights()).sum::<usize>() + filter.num_weights() > MAX_TABLE_WEIGHTS {
        filters.clear();
    }
    filters.insert(key, filter.clone());
    Ok(filter)
}

/// Both rates in lowest terms; ValueError for rates that no file has.
pub fn reduce(from_hz: u32, to_hz: u32) -> Result<(u32, u32)> {
    for (what, rate) in [("from_hz", from_hz), ("to_hz", to_hz)] {
        if !(1..=MAX_SAMPLE_RATE_HZ).contains(&rate) {
            return Err(Error::value(format!("{what} is {rate}; it must be in 1..={MAX_SAMPLE_RATE_HZ}")));
        }
    }
    let divisor = gcd(from_hz, to_hz);
    Ok((from_hz / divisor, to_hz / divisor))
}

/// Phase i of `to` weighs input j by window(t) sinc(pi t) at t = c (j / from - i / to), c = rolloff min(from, to), each
/// phase normalised to sum 1. Taps where the window is zero are left out.
fn build(preset: Preset, from: u32, to: u32) -> Result<Fir> {
    let cutoff = preset.rolloff() * f64::from(from.min(to));
    let reach = preset.zeros() * f64::from(from) / cutoff; // in input samples, to either side
    let num_taps = ((2.0 * reach).floor() as usize + 1).next_multiple_of(8);
    if num_taps * to as usize > MAX_TABLE_WEIGHTS {
        let message = format!("resampling {from}:{to} needs {num_taps} x {to} filter taps; choose closer rates");
        return Err(Error::limit("resample", message));
    }
    let mut weights = Vec::with_capacity(num_taps * to as usize);
    let mut first_tap = Vec::with_capacity(to as usize);
    let mut phase_weights = vec![0f64; num_taps];
    for phase in 0..to {
        let first = (f64::from(phase) * f64::from(from) / f64::from(to) - reach).ceil() as i32;
        for (tap, weight) in phase_weights.iter_mut().enumerate() {
            let input = first + tap as i32;
            *weight = match preset {
                Preset::Julius24 => julius(input, phase, from, to, cutoff),
                Preset::Hq => {
                    let ahead = i64::from(input) * i64::from(to) - i64::from(phase) * i64::from(from); // exact
                    kaiser(cutoff * ahead as f64 / (f64::from(from) * f64::from(to)), preset.zeros())
                }
            };
        }
        let sum: f64 = phase_weights.iter().sum();
        weights.extend(phase_weights.iter().map(|w| (w / sum) as f32));
        first_tap.push(first);
    }
    Ok(Fir::new(weights, first_tap, from as usize))
}

/// A sinc in a cos^2 window. julius computes t in float32, which moves the output by up to 5e-6, so it is done here as
/// well; the rest is in double.
fn julius(input: i32, phase: u32, from: u32, to: u32, cutoff: f64) -> f64 {
    let zeros = Preset::Julius24.zeros();
    let offset = -(f64::from(phase) / f64::from(to)) as f32;
    let t = (input as f32 / from as f32 + offset) * cutoff as f32;
    let x = f64::from(t * std::f32::consts::PI);
    if f64::from(t.abs()) < zeros { sinc(x) * (x / (2.0 * zeros)).cos().powi(2) } else { 0.0 }
}

/// A sinc in a Kaiser window (Kaiser and Schafer, IEEE TASSP 28(1), 1980). beta = 10.3 puts side lobes 102 dB down.
fn kaiser(t: f64, zeros: f64) -> f64 {
    const BETA: f64 = 10.3;
    let inside = 1.0 - (t / zeros).powi(2);
    if inside > 0.0 { sinc(PI * t) * bessel_i0(BETA * inside.sqrt()) / bessel_i0(BETA) } else { 0.0 }
}

/// Modified Bessel function of the first kind, order 0, by its power series: sum of ((x / 2)^k / k!)^2.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..64 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    sum
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
    fn bessel_function_has_its_tabulated_values() {
        for (x, i0) in [(0.0, 1.0), (1.0, 1.266065877752008), (5.0, 27.239871823604442), (10.0, 2815.716628466254)] {
            assert!((bessel_i0(x) / i0 - 1.0f64).abs() < 1e-14);
        }
    }

    #[test]
    fn absurd_pairs_are_refused() {
        assert!(matches!(reduce(0, 32_000), Err(Error::Value(_))));
        assert!(matches!(reduce(768_001, 32_000), Err(Error::Value(_))));
        assert_eq!(reduce(44_100, 32_000).unwrap(), (441, 320));
        assert!(matches!(get(Preset::Julius24, 767_999, 768_000), Err(Error::Limit { .. })));
        assert!(matches!(Preset::parse("soxr"), Err(Error::Value(_))));
    }
}
