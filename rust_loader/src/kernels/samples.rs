//! Plain loops over samples, in blocks that the compiler keeps in vectors.

/// Samples that are looked at together before any is searched.
const BLOCK: usize = 1024;

/// Mean over channels, added in channel order, of planar `input` [num_channels, out.len()]. A division, as torch's mean
/// does it: a multiplication by the reciprocal rounds differently for 3, 5, 6, ...
pub fn mix_to_mono(input: &[f32], num_channels: usize, out: &mut [f32]) {
    assert!(num_channels > 0 && input.len() == num_channels * out.len());
    let (first, others) = input.split_at(out.len());
    if num_channels == 2 {
        for ((mean, x), y) in out.iter_mut().zip(first).zip(others) {
            *mean = (x + y) / 2.0;
        }
    } else {
        out.copy_from_slice(first);
        mean_with(out, others, num_channels);
    }
}

/// The same into the first row of `samples` [num_channels, num_samples]; the other rows stay as they are.
pub fn mix_in_place(samples: &mut [f32], num_channels: usize) {
    assert!(num_channels > 0 && samples.len().is_multiple_of(num_channels));
    let (first, others) = samples.split_at_mut(samples.len() / num_channels);
    mean_with(first, others, num_channels);
}

fn mean_with(sum: &mut [f32], others: &[f32], num_channels: usize) {
    if sum.is_empty() {
        return;
    }
    let divisor = num_channels as f32;
    let mut others = others.chunks_exact(sum.len());
    let last = others.next_back();
    for channel in others {
        for (sum, x) in sum.iter_mut().zip(channel) {
            *sum += x;
        }
    }
    for (sum, x) in sum.iter_mut().zip(last.unwrap_or_default()) {
        *sum = (*sum + x) / divisor;
    }
}

/// Largest |x|; NaN is ignored. 0 for nothing.
pub fn peak(input: &[f32]) -> f32 {
    let larger = |largest: f32, x: f32| if x.abs() > largest { x.abs() } else { largest };
    let (blocks, rest) = input.as_chunks::<16>();
    let mut lanes = [0.0; 16];
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = larger(*lane, x);
        }
    }
    lanes.iter().chain(rest).fold(0.0, |largest, &x| larger(largest, x))
}

/// Sum of x^2 in double: eight partial sums, sample i in sum i % 8, added as
/// ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)).
pub fn sum_of_squares(input: &[f32]) -> f64 {
    let mut s = [0.0; 8];
    let mut add = |block: &[f32]| {
        for (sum, &x) in s.iter_mut().zip(block) {
            *sum += f64::from(x) * f64::from(x);
        }
    };
    let (blocks, rest) = input.as_chunks::<8>();
    blocks.iter().for_each(|block| add(block));
    add(rest);
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// Index of the first sample that is NaN or infinite.
pub fn first_nonfinite(input: &[f32]) -> Option<usize> {
    position(input, |x| !x.is_finite())
}

/// Index of the first sample with |x| > threshold; input.len() when there is none.
pub fn first_above(input: &[f32], threshold: f32) -> usize {
    position(input, |x| x.abs() > threshold).unwrap_or(input.len())
}

/// One past the last sample with |x| > threshold; 0 when there is none.
pub fn end_above(input: &[f32], threshold: f32) -> usize {
    let mut end = input.len();
    for block in input.rchunks(BLOCK) {
        if any(block, |x| x.abs() > threshold) {
            return end - block.iter().rev().take_while(|x| x.abs() <= threshold || x.is_nan()).count();
        }
        end -= block.len();
    }
    0
}

fn position(input: &[f32], wanted: impl Fn(f32) -> bool + Copy) -> Option<usize> {
    let block = input.chunks(BLOCK).position(|block| any(block, wanted))? * BLOCK;
    input[block..].iter().position(|&x| wanted(x)).map(|at| block + at)
}

/// Without an early end, which would keep the loop from being vectorised.
fn any(block: &[f32], wanted: impl Fn(f32) -> bool) -> bool {
    block.iter().fold(false, |found, &x| found | wanted(x))
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn sum_of_squares_adds_in_its_order() {
        for len in [0, 1, 7, 8, 9, 1000, 4099] {
            let x = noise(len);
            let mut s = [0f64; 8];
            for (i, &x) in x.iter().enumerate() {
                s[i % 8] = std::hint::black_box(s[i % 8] + f64::from(x).powi(2));
            }
            let expected = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
            assert_eq!(sum_of_squares(&x).to_bits(), expected.to_bits());
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
        assert_eq!(first_nonfinite(&[f32::MAX, f32::MIN, 0.0, 1e-45]), None);
        assert_eq!(first_nonfinite(&[]), None);
    }

    #[test]
    fn bounds_are_those_of_a_plain_search() {
        let mut x = noise(5000);
        x[4990] = f32::NAN;
        for threshold in [0.0, 0.5, 0.99, 0.9999, 1.0] {
            let above = |&x: &f32| x.abs() > threshold;
            assert_eq!(first_above(&x, threshold), x.iter().position(above).unwrap_or(x.len()));
            assert_eq!(end_above(&x, threshold), x.iter().rposition(above).map_or(0, |at| at + 1));
        }
        assert_eq!((first_above(&[], 0.5), end_above(&[], 0.5)), (0, 0));
    }

    #[test]
    fn peak_ignores_nan_and_sees_every_place() {
        for at in [0, 15, 16, 33, 39] {
            let mut x = vec![0.25f32; 40];
            x[(at + 1) % 40] = f32::NAN;
            x[at] = -3.0;
            assert_eq!(peak(&x), 3.0);
        }
        assert_eq!(peak(&[]), 0.0);
    }

    #[test]
    fn mean_is_added_in_channel_order() {
        for num_channels in 1..=8 {
            let mut planar = noise(num_channels * 100);
            let mean = |i: usize| {
                let sum = (1..num_channels).fold(planar[i], |sum, channel| sum + planar[channel * 100 + i]);
                sum / num_channels as f32
            };
            let expected: Vec<u32> = (0..100).map(|i| mean(i).to_bits()).collect();
            let mut out = [0.0; 100];
            mix_to_mono(&planar, num_channels, &mut out);
            assert_eq!(out.map(f32::to_bits).as_slice(), expected);
            mix_in_place(&mut planar, num_channels);
            assert_eq!(planar[..100], out);
        }
        mix_to_mono(&[], 2, &mut []);
        mix_in_place(&mut [], 2);
    }
}
