//! The bridge to the C++ kernels (kernels/kernels.h says what each computes). Shapes are checked here, once; the
//! kernels trust them.

#[cxx::bridge(namespace = "kernels")]
mod ffi {
    unsafe extern "C++" {
        include!("musicgen_rust_loader/kernels/kernels.h");

        fn mix_to_mono(input: &[f32], num_channels: usize, out: &mut [f32]);
        fn fir(
            input: &[f32],
            in_origin: i64,
            weights: &[f32],
            first_tap: &[i32],
            step: usize,
            first_output: u64,
            out: &mut [f32],
        );
        fn fir_reference(
            input: &[f32],
            in_origin: i64,
            weights: &[f32],
            first_tap: &[i32],
            step: usize,
            first_output: u64,
            out: &mut [f32],
        );
        fn interleave_u16(
            codes: &[u16],
            delays: &[u32],
            num_frames: usize,
            num_steps: usize,
            special: u16,
            out: &mut [u16],
        );
        fn interleave_u64(
            codes: &[u64],
            delays: &[u32],
            num_frames: usize,
            num_steps: usize,
            special: u64,
            out: &mut [u64],
        );
        fn deinterleave_u16(
            sequence: &[u16],
            delays: &[u32],
            num_steps: usize,
            num_frames: usize,
            special: u16,
            out: &mut [u16],
        );
        fn deinterleave_u64(
            sequence: &[u64],
            delays: &[u32],
            num_steps: usize,
            num_frames: usize,
            special: u64,
            out: &mut [u64],
        );
        fn peak(input: &[f32]) -> f32;
        fn sum_of_squares(input: &[f32]) -> f64;
        fn sum_of_squares_reference(input: &[f32]) -> f64;
        fn first_nonfinite(input: &[f32]) -> usize;
        fn first_above(input: &[f32], threshold: f32) -> usize;
        fn end_above(input: &[f32], threshold: f32) -> usize;
    }
}

pub use ffi::{end_above, first_above, peak, sum_of_squares, sum_of_squares_reference};

/// Mean over channels of planar `input` [num_channels, out.len()].
pub fn mix_to_mono(input: &[f32], num_channels: usize, out: &mut [f32]) {
    assert!(num_channels > 0 && input.len() == num_channels * out.len());
    ffi::mix_to_mono(input, num_channels, out);
}

/// Index of the first sample that is NaN or infinite.
pub fn first_nonfinite(input: &[f32]) -> Option<usize> {
    let index = ffi::first_nonfinite(input);
    (index < input.len()).then_some(index)
}

/// A polyphase filter: `weights` [num_phases, num_taps], `first_tap` [num_phases], `step` input samples per num_phases
/// outputs.
pub struct Fir<'a> {
    pub weights: &'a [f32],
    pub first_tap: &'a [i32],
    pub step: usize,
}

impl Fir<'_> {
    /// Outputs `first_output ..` of the signal whose sample number p is `input[p - in_origin]`.
    pub fn apply(&self, input: &[f32], in_origin: i64, first_output: u64, out: &mut [f32]) {
        self.check(input, in_origin, first_output, out.len());
        ffi::fir(input, in_origin, self.weights, self.first_tap, self.step, first_output, out);
    }

    /// The same by the scalar loop that defines it.
    pub fn apply_reference(&self, input: &[f32], in_origin: i64, first_output: u64, out: &mut [f32]) {
        self.check(input, in_origin, first_output, out.len());
        ffi::fir_reference(input, in_origin, self.weights, self.first_tap, self.step, first_output, out);
    }

    fn check(&self, input: &[f32], in_origin: i64, first_output: u64, num_outputs: usize) {
        let num_phases = self.first_tap.len();
        let num_taps = self.weights.len() / num_phases;
        assert!(num_taps.is_multiple_of(8) && num_taps * num_phases == self.weights.len());
        if num_outputs == 0 {
            return;
        }
        let block = |output: u64| (output / num_phases as u64) as i64 * self.step as i64 - in_origin;
        let lowest = i64::from(*self.first_tap.iter().min().expect("a filter has phases"));
        let highest = i64::from(*self.first_tap.iter().max().expect("a filter has phases"));
        let last = first_output + num_outputs as u64 - 1;
        assert!(block(first_output) + lowest >= 0, "input starts too late");
        assert!(block(last) + highest + num_taps as i64 <= input.len() as i64, "input ends too early");
    }
}

/// Token types that a pattern can be applied to; the kernels only move bits, so signed types borrow the unsigned ones.
pub trait Token: bytemuck::Pod {
    fn interleave(codes: &[Self], delays: &[u32], num_frames: usize, num_steps: usize, special: Self, out: &mut [Self]);
    fn deinterleave(
        sequence: &[Self],
        delays: &[u32],
        num_steps: usize,
        num_frames: usize,
        special: Self,
        out: &mut [Self],
    );
    /// `special` in this type, if it fits.
    fn from_special(special: i64) -> Option<Self>;
}

macro_rules! token {
    ($token:ty, $bits:ty, $interleave:path, $deinterleave:path) => {
        impl Token for $token {
            fn interleave(
                codes: &[Self],
                delays: &[u32],
                num_frames: usize,
                num_steps: usize,
                special: Self,
                out: &mut [Self],
            ) {
                check_rows(codes.len(), num_frames, out.len(), num_steps, delays.len());
                let (codes, out) = (bytemuck::cast_slice(codes), bytemuck::cast_slice_mut(out));
                $interleave(codes, delays, num_frames, num_steps, special as $bits, out);
            }

            fn deinterleave(
                sequence: &[Self],
                delays: &[u32],
                num_steps: usize,
                num_frames: usize,
                special: Self,
                out: &mut [Self],
            ) {
                check_rows(sequence.len(), num_steps, out.len(), num_frames, delays.len());
                let (sequence, out) = (bytemuck::cast_slice(sequence), bytemuck::cast_slice_mut(out));
                $deinterleave(sequence, delays, num_steps, num_frames, special as $bits, out);
            }

            fn from_special(special: i64) -> Option<Self> {
                Self::try_from(special).ok()
            }
        }
    };
}

token!(u16, u16, ffi::interleave_u16, ffi::deinterleave_u16);
token!(i16, u16, ffi::interleave_u16, ffi::deinterleave_u16);
token!(i64, u64, ffi::interleave_u64, ffi::deinterleave_u64);

fn check_rows(from: usize, from_width: usize, to: usize, to_width: usize, num_codebooks: usize) {
    assert!(num_codebooks > 0);
    assert!(from.is_multiple_of(from_width.max(1)) && to.is_multiple_of(to_width.max(1)));
    if from_width > 0 && to_width > 0 {
        assert!(from / from_width == to / to_width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern, the same on every run.
    pub fn noise(len: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn fir_equals_its_reference_bit_for_bit() {
        let (input, weights) = (noise(5000), noise(3 * 24));
        let filter = Fir { weights: &weights, first_tap: &[0, 3, 5], step: 7 };
        for (origin, first) in [(0, 0), (0, 1), (-7, 2), (14, 11)] {
            let (mut fast, mut slow) = (vec![0.0; 1500], vec![0.0; 1500]);
            filter.apply(&input, origin, first, &mut fast);
            filter.apply_reference(&input, origin, first, &mut slow);
            assert!(fast.iter().zip(&slow).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn sum_of_squares_equals_its_reference_bit_for_bit() {
        for len in [0, 1, 7, 8, 9, 1000, 4099] {
            let x = noise(len);
            assert_eq!(sum_of_squares(&x).to_bits(), sum_of_squares_reference(&x).to_bits());
        }
    }

    #[test]
    fn nonfinite_samples_are_found_wherever_they_are() {
        for at in [0, 1, 1023, 1024, 2999] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = noise(3000);
                x[at] = bad;
                assert_eq!(first_nonfinite(&x), Some(at));
            }
        }
        assert_eq!(first_nonfinite(&noise(3000)), None);
        assert_eq!(first_nonfinite(&[f32::MAX, f32::MIN]), None);
    }

    #[test]
    fn mean_is_added_in_channel_order() {
        let mut out = [0.0; 2];
        mix_to_mono(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut out);
        assert_eq!(out, [3.0, 4.0]);
    }
}
