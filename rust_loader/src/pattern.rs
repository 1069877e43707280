//! The delay pattern over whole batches: lengths, masks, and the kernel calls.

use crate::error::{Error, Result};
use crate::kernels::Token;

/// Steps of the sequence for `num_frames` frames. Full: frames + largest delay + 1 (the start step). `keep_only_valid`
/// drops the steps that hold frames beyond the end: frames + smallest delay + 1, which is frames + 1 for delays that
/// begin with 0.
pub fn num_steps(num_frames: usize, delays: &[u32], keep_only_valid: bool) -> usize {
    let extreme = if keep_only_valid { delays.iter().min() } else { delays.iter().max() };
    num_frames + *extreme.expect("checked: there are delays") as usize + 1
}

/// codes [B, K, T], num_rows = B * K -> (sequence [B, K, S], mask [K, S]: true where a code is).
pub fn interleave<T: Token>(
    codes: &[T],
    num_rows: usize,
    delays: &[u32],
    num_frames: usize,
    special: i64,
    keep_only_valid: bool,
) -> Result<(Vec<T>, Vec<bool>)> {
    let special = fit(special)?;
    let num_steps = num_steps(num_frames, delays, keep_only_valid);
    let mut sequence = vec![special; num_rows * num_steps];
    T::interleave(codes, delays, num_frames, num_steps, special, &mut sequence);
    let mask = delays.iter().flat_map(|&delay| {
        (0..num_steps).map(move |step| (delay as usize + 1..delay as usize + 1 + num_frames).contains(&step))
    });
    Ok((sequence, mask.collect()))
}

/// sequence [B, K, S], num_rows = B * K -> (codes [B, K, T], mask [K, T]: true where the sequence held the code).
pub fn deinterleave<T: Token>(
    sequence: &[T],
    num_rows: usize,
    delays: &[u32],
    num_steps: usize,
    num_frames: usize,
    special: i64,
) -> Result<(Vec<T>, Vec<bool>)> {
    let special = fit(special)?;
    let mut codes = vec![special; num_rows * num_frames];
    T::deinterleave(sequence, delays, num_steps, num_frames, special, &mut codes);
    let mask = delays.iter().flat_map(|&delay| (0..num_frames).map(move |t| t + 1 + (delay as usize) < num_steps));
    Ok((codes, mask.collect()))
}

/// Delays as the pattern needs them: one per codebook, ascending.
pub fn check_delays(delays: &[i64], num_codebooks: usize) -> Result<Vec<u32>> {
    if delays.len() != num_codebooks || delays.is_empty() {
        return Err(Error::value(format!("{} delays for {num_codebooks} codebooks", delays.len())));
    }
    if delays[0] < 0 || delays.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(Error::value(format!("delays {delays:?} must be ascending and not negative")));
    }
    let fit = |&d: &i64| u32::try_from(d).ok().filter(|d| *d <= 1 << 20);
    delays
        .iter()
        .map(fit)
        .collect::<Option<_>>()
        .ok_or_else(|| Error::value(format!("delays {delays:?} are too large")))
}

fn fit<T: Token>(special: i64) -> Result<T> {
    T::from_special(special).ok_or_else(|| {
        Error::value(format!("special token {special} does not fit the {} codes", std::any::type_name::<T>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_gives_back_what_went_in() {
        for num_codebooks in 1..=16usize {
            for num_frames in [1, 2, 5, 33] {
                let delays: Vec<u32> = (0..num_codebooks as u32).map(|k| k * (k + 1) / 2).collect();
                let codes: Vec<u16> = (0..2 * num_codebooks * num_frames).map(|i| i as u16).collect();
                let (sequence, mask) = interleave(&codes, 2 * num_codebooks, &delays, num_frames, 9999, false).unwrap();
                assert_eq!(mask.iter().filter(|m| **m).count(), num_codebooks * num_frames);
                let steps = num_steps(num_frames, &delays, false);
                let (back, mask) =
                    deinterleave(&sequence, 2 * num_codebooks, &delays, steps, num_frames, 9999).unwrap();
                assert_eq!(back, codes);
                assert!(mask.iter().all(|m| *m));
            }
        }
    }
}
