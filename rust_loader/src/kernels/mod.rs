//! The arithmetic of the data path: flat slices in, flat slices out, fixed orders of addition. `fir` is C++ for the
//! vectors (kernels/fir.cc); the rest is Rust, since C++ was no faster (docs/decisions/0006-kernels.md).

mod fir;
mod samples;
mod token;

pub use fir::{Fir, Target};
pub use samples::{end_above, first_above, first_nonfinite, mix_in_place, mix_to_mono, peak, sum_of_squares};
pub use token::Token;

/// (C++ compiler, Rust compiler) that made this code.
pub const COMPILERS: (&str, &str) = (env!("KERNEL_COMPILER"), env!("RUST_COMPILER"));

#[cfg(test)]
mod tests {
    /// Numbers in [-1, 1) without a pattern, the same on every run.
    pub fn noise(len: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }
}
