//! The polyphase FIR on one of several instruction sets, all of which give the same bits.
#![expect(clippy::too_many_arguments, reason = "flat slices cross to C++; `Fir` is what others see")]

use std::sync::atomic::{AtomicU8, Ordering};

pub use ffi::Target;

#[cxx::bridge(namespace = "kernels")]
mod ffi {
    /// What computes: a scalar loop in Rust, which defines the result, or vectors of one instruction set.
    #[derive(Debug)]
    enum Target {
        Scalar,
        /// What every processor of the architecture has: SSE2 on x86-64.
        Baseline,
        Avx2,
        Avx512,
    }

    // SAFETY: `cxx` checks the signature against fir.h when the extension is built. `fir` reads and writes inside the
    // slices it is given and nothing else, keeps none of them, and throws nothing; `Fir::apply` makes the sizes fit.
    unsafe extern "C++" {
        include!("musicgen_rust_loader/kernels/fir.h");

        type Target;

        fn fir(
            target: Target,
            input: &[f32],
            in_origin: i64,
            weights: &[f32],
            first_tap: &[i32],
            step: usize,
            first_output: u64,
            repeats: usize,
            scratch: &mut [f32],
            out: &mut [f32],
        );
    }
}

const LANES: usize = 8;
const COLUMNS: usize = 16;

/// A run of a tile holds at least this many inputs or outputs, so that what runs overlap by is small against it.
const MIN_RUN: usize = 512;
/// Filters of longer periods take no tiles: those would not stay in a core's cache.
const MAX_PERIOD: usize = 2048;

static CHOSEN: AtomicU8 = AtomicU8::new(u8::MAX);

impl Target {
    const ALL: [Self; 4] = [Self::Scalar, Self::Baseline, Self::Avx2, Self::Avx512];

    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            _ => "avx512",
        }
    }

    /// Those that this processor has, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|target| target.is_available())
    }

    /// What `Fir::apply` uses: the last of `available`, unless `choose` said otherwise.
    pub fn chosen() -> Self {
        let index = CHOSEN.load(Ordering::Relaxed);
        let best = || Self::available().last().expect("the scalar loop is always there");
        Self::ALL.get(usize::from(index)).copied().unwrap_or_else(|| {
            let best = best();
            CHOSEN.store(best.repr, Ordering::Relaxed);
            best
        })
    }

    /// Makes all later calls in this process use `self`, which must be available.
    pub fn choose(self) {
        assert!(self.is_available());
        CHOSEN.store(self.repr, Ordering::Relaxed);
    }

    fn is_available(self) -> bool {
        match self {
            Self::Scalar | Self::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl"),
            _ => false,
        }
    }
}

/// A polyphase filter: output m has phase m % num_phases and weighs `num_taps` inputs from
/// (m / num_phases) * step + first_tap[phase].
pub struct Fir {
    /// [num_phases, num_taps]
    weights: Vec<f32>,
    first_tap: Vec<i32>,
    step: usize,
    num_taps: usize,
}

impl Fir {
    /// `weights` [first_tap.len(), num_taps], num_taps a multiple of 8; first taps ascend, over all outputs.
    pub fn new(weights: Vec<f32>, first_tap: Vec<i32>, step: usize) -> Self {
        let num_taps = weights.len() / first_tap.len();
        assert!(num_taps.is_multiple_of(LANES) && num_taps * first_tap.len() == weights.len());
        assert!(
            first_tap.is_sorted() && i64::from(first_tap[first_tap.len() - 1]) <= i64::from(first_tap[0]) + step as i64
        );
        Self { weights, first_tap, step, num_taps }
    }

    pub fn num_weights(&self) -> usize {
        self.weights.len()
    }

    pub fn num_taps(&self) -> usize {
        self.num_taps
    }

    /// Input of output m's first tap; those before sample 0 count.
    pub fn first_input(&self, output: u64) -> i64 {
        let num_phases = self.first_tap.len() as u64;
        (output / num_phases) as i64 * self.step as i64 + i64::from(self.first_tap[(output % num_phases) as usize])
    }

    /// Outputs `first_output ..` of the signal whose sample number p is `input[p - in_origin]`.
    pub fn apply(&self, input: &[f32], in_origin: i64, first_output: u64, out: &mut [f32]) {
        self.apply_on(Target::chosen(), input, in_origin, first_output, out);
    }

    /// The same on a given target, which must be available.
    pub fn apply_on(&self, target: Target, input: &[f32], in_origin: i64, first_output: u64, out: &mut [f32]) {
        assert!(target.is_available());
        let Some(last) = out.len().checked_sub(1) else { return };
        assert!(self.first_input(first_output) >= in_origin, "input starts too late");
        let end = self.first_input(first_output + last as u64) + self.num_taps as i64;
        assert!(end - in_origin <= input.len() as i64, "input ends too early");
        if target == Target::Scalar {
            return self.apply_scalar(input, in_origin, first_output, out);
        }
        let (weights, first_tap, step) = (&self.weights[..], &self.first_tap[..], self.step);
        let (repeats, scratch_len) = self.tiles(out.len());
        let mut scratch = vec![0.0; scratch_len + COLUMNS];
        let aligned = scratch.as_ptr().align_offset(COLUMNS * size_of::<f32>()).min(COLUMNS);
        let scratch = &mut scratch[aligned..][..scratch_len];
        ffi::fir(target, input, in_origin, weights, first_tap, step, first_output, repeats, scratch, out);
    }

    /// Periods in a run of a tile, and the scratch that takes; (0, 0) where there are too few outputs for a tile.
    fn tiles(&self, num_outputs: usize) -> (usize, usize) {
        let num_phases = self.first_tap.len();
        let period = self.step.max(num_phases);
        let repeats = MIN_RUN.div_ceil(period).min(num_outputs.saturating_sub(1) / (COLUMNS * num_phases));
        if period > MAX_PERIOD || repeats == 0 {
            return (0, 0);
        }
        (repeats, COLUMNS * (repeats * (self.step + num_phases) + self.num_taps))
    }

    /// The definition, one output and one tap at a time: eight partial sums, lane l taking taps l, l + 8, ..., added as
    /// ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)).
    fn apply_scalar(&self, input: &[f32], in_origin: i64, first_output: u64, out: &mut [f32]) {
        for (m, y) in (first_output..).zip(out) {
            let phase = (m % self.first_tap.len() as u64) as usize;
            let x = &input[(self.first_input(m) - in_origin) as usize..][..self.num_taps];
            let w = &self.weights[phase * self.num_taps..][..self.num_taps];
            let mut s = [0f32; LANES];
            for (x, w) in x.chunks_exact(LANES).zip(w.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    s[lane] += w[lane] * x[lane];
                }
            }
            *y = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    /// Periods below, in and above the range that tiles take; outputs below, at and above whole tiles.
    #[test]
    fn every_target_gives_the_same_bits() {
        for (step, num_phases, num_taps) in [(3, 2, 72), (441, 320, 72), (1, 7, 56), (7, 1, 400), (2049, 2050, 64)] {
            let first_tap: Vec<i32> = (0..num_phases).map(|p| (p * step / num_phases) as i32 - 9).collect();
            let fir = Fir::new(noise(num_taps * num_phases), first_tap, step);
            let tile = COLUMNS * num_phases * MIN_RUN.div_ceil(step.max(num_phases));
            for num_outputs in [0, 1, 16 * num_phases, tile - 1, tile, tile + 1, 2 * tile + 77] {
                for first_output in [0, 1, num_phases as u64 + 3] {
                    let origin = fir.first_input(first_output);
                    let last = first_output + (num_outputs as u64).saturating_sub(1);
                    let input = noise((fir.first_input(last) - origin) as usize + num_taps);
                    let mut expected = vec![0.0; num_outputs];
                    fir.apply_on(Target::Scalar, &input, origin, first_output, &mut expected);
                    for target in Target::available() {
                        let mut found = vec![f32::NAN; num_outputs];
                        fir.apply_on(target, &input, origin, first_output, &mut found);
                        assert_eq!(bits(&found), bits(&expected), "{} {step}:{num_phases}", target.name());
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "input ends too early")]
    fn short_input_is_noticed() {
        let fir = Fir::new(vec![1.0; 16], vec![0, 1], 2);
        fir.apply(&[0.0; 16], 0, 0, &mut [0.0; 10]);
    }
}
