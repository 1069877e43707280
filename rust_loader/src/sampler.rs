//! Random numbers that are a pure function of what they are for: Philox4x64-10 (Salmon et al., SC'11), the generator of
//! `numpy.random.Philox`, keyed by (seed, stream) and counted by (epoch, index, draw, 0).

use crate::error::{Error, Result};

pub fn philox(key: [u64; 2], counter: [u64; 4]) -> [u64; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
    const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];
    let (mut k, mut c) = (key, counter);
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        let (a, b) = (wide(MULTIPLIERS[0], c[0]), wide(MULTIPLIERS[1], c[2]));
        c = [b.1 ^ c[1] ^ k[0], b.0, a.1 ^ c[3] ^ k[1], a.0];
    }
    c
}

/// Uniform in [0, 1) from the upper 53 bits.
pub fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform integer in [0, n) by multiply-shift; the bias is below n / 2^64.
pub fn below(word: u64, n: u64) -> u64 {
    wide(word, n).1
}

/// First words of the blocks (epoch, index, draw, 0) as numbers in [0, 1).
pub fn uniform(seed: u64, stream: u64, epoch: u64, indexes: &[i64], draw: u64) -> Vec<f64> {
    indexes.iter().map(|&index| unit(philox([seed, stream], [epoch, index as u64, draw, 0])[0])).collect()
}

/// How segments are drawn from tracks.
pub struct SegmentSampler<'a> {
    pub num_frames: &'a [i64],
    pub weights: Option<&'a [f64]>,
    pub segment_frames: u64,
    pub min_segment_ratio: f64,
}

impl SegmentSampler<'_> {
    /// (track, start) of samples `first_index .. first_index + count`. Word 0 of block (epoch, index, 0, 0) chooses the
    /// track, word 1 the start in [0, max(0, frames - ceil(segment * ratio))].
    pub fn draw(
        &self,
        seed: u64,
        stream: u64,
        epoch: u64,
        first_index: u64,
        count: usize,
    ) -> Result<(Vec<i64>, Vec<i64>)> {
        let cumulative = self.check()?;
        let needed = (self.segment_frames as f64 * self.min_segment_ratio - 1e-9).ceil().max(0.0) as u64;
        let draw = |i: usize| {
            let [track_word, start_word, ..] =
                philox([seed, stream], [epoch, first_index.wrapping_add(i as u64), 0, 0]);
            let track = match &cumulative {
                None => below(track_word, self.num_frames.len() as u64) as usize,
                Some(cumulative) => choose(cumulative, unit(track_word)),
            };
            let last_start = (self.num_frames[track] as u64).saturating_sub(needed);
            (track as i64, below(start_word, last_start + 1) as i64)
        };
        Ok((0..count).map(draw).unzip())
    }

    /// Checks the tracks; cumulative weights when there are weights.
    fn check(&self) -> Result<Option<Vec<f64>>> {
        if self.num_frames.is_empty() {
            return Err(Error::value("no tracks to draw from"));
        }
        if let Some(track) = self.num_frames.iter().position(|&n| n < 0) {
            return Err(Error::value(format!("track {track} has {} frames", self.num_frames[track])));
        }
        if !(0.0..=1.0).contains(&self.min_segment_ratio) {
            return Err(Error::value(format!("min_segment_ratio is {}; it must be in [0, 1]", self.min_segment_ratio)));
        }
        let Some(weights) = self.weights else { return Ok(None) };
        if weights.len() != self.num_frames.len() {
            let message = format!("{} weights for {} tracks", weights.len(), self.num_frames.len());
            return Err(Error::value(message));
        }
        if let Some(track) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            return Err(Error::value(format!("weight of track {track} is {}; it must be >= 0", weights[track])));
        }
        let mut sum = 0.0;
        let cumulative: Vec<f64> = weights
            .iter()
            .map(|w| {
                sum += w;
                sum
            })
            .collect();
        if !(sum.is_finite() && sum > 0.0) {
            return Err(Error::value(format!("the weights sum to {sum}; at least one must be positive")));
        }
        Ok(Some(cumulative))
    }
}

/// First track whose cumulative weight exceeds u * total; one of weight 0 is never chosen.
fn choose(cumulative: &[f64], u: f64) -> usize {
    let total = cumulative[cumulative.len() - 1];
    let at = cumulative.partition_point(|&sum| sum <= u * total);
    if at < cumulative.len() { at } else { cumulative.partition_point(|&sum| sum < total) }
}

/// (low, high) halves of the 128-bit product.
fn wide(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    (product as u64, (product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // Random123's kat_vectors, philox4x64 10 rounds.
        assert_eq!(
            philox([0, 0], [0; 4]),
            [0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b]
        );
        assert_eq!(
            philox([u64::MAX; 2], [u64::MAX; 4]),
            [0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0]
        );
    }

    #[test]
    fn ends_of_the_weighted_choice() {
        assert_eq!(choose(&[0.0, 1.0, 1.0], 0.0), 1);
        assert_eq!(choose(&[0.0, 1.0, 1.0], 1.0), 1);
        assert_eq!(choose(&[0.5, 0.5, 1.0], 0.5), 2);
    }
}
