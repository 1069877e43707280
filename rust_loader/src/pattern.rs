//! Codebook patterns over whole batches. A pattern is a table: the step at which each code stands.

use crate::error::{Error, Result};
use crate::kernels::Token;

/// Steps beyond this are a mistake, not a sequence.
const MAX_STEPS: i64 = 1 << 31;
/// Elements of one result: 8 GiB of uint16.
const MAX_ELEMENTS: usize = 1 << 32;

/// The checked table. `steps` is [num_codebooks, num_frames]: code (k, t) stands at step `steps[k * num_frames + t]`,
/// which is at least 1 (step 0 is the start) and grows with t.
pub struct Layout<'a> {
    steps: &'a [i64],
    num_codebooks: usize,
    num_frames: usize,
    /// Step of each codebook's first frame less one, when the others follow it one by one in every codebook. So it is
    /// in the delay and the parallel pattern, and rows are then copied in one piece.
    runs: Option<Vec<u32>>,
}

impl<'a> Layout<'a> {
    pub fn new(steps: &'a [i64], num_codebooks: usize, num_frames: usize) -> Result<Self> {
        if num_codebooks == 0 {
            return Err(Error::value("step_KT has 0 codebooks; it needs at least 1"));
        }
        if num_frames == 0 {
            return Ok(Self { steps, num_codebooks, num_frames, runs: Some(vec![0; num_codebooks]) });
        }
        let mut runs = Some(Vec::with_capacity(num_codebooks));
        for (k, row) in steps.chunks_exact(num_frames).enumerate() {
            let (first, last) = (row[0], row[num_frames - 1]);
            // no early exit, so that the loop runs in vectors
            let ascends = row.iter().zip(&row[1..]).fold(true, |so_far, (a, b)| so_far & (a < b));
            if first < 1 || last >= MAX_STEPS || !ascends {
                return Err(Error::value(format!(
                    "step_KT: steps of codebook {k} ({first} to {last}) must ascend and lie in 1..{MAX_STEPS}"
                )));
            }
            match &mut runs {
                Some(begins) if last - first == num_frames as i64 - 1 => begins.push(first as u32 - 1),
                _ => runs = None,
            }
        }
        Ok(Self { steps, num_codebooks, num_frames, runs })
    }

    /// codes [batch, K, T] -> (sequence [batch, K, num_steps] with `special` where no code stands, mask [K, num_steps]:
    /// true where one does). Codes at later steps are left out.
    pub fn interleave<T: Token>(
        &self,
        codes: &[T],
        batch: usize,
        num_steps: usize,
        special: i64,
    ) -> Result<(Vec<T>, Vec<bool>)> {
        let special = fit(special)?;
        let mut sequence = vec![special; self.size(batch, num_steps)?];
        if let Some(begins) = &self.runs {
            T::interleave(codes, begins, self.num_frames, num_steps, special, &mut sequence);
        } else if num_steps > 0 {
            let rows = codes.chunks_exact(self.num_frames).zip(sequence.chunks_exact_mut(num_steps));
            for ((codes, sequence), steps) in rows.zip(self.rows_within(num_steps).iter().cycle()) {
                for (&step, &code) in steps.iter().zip(codes) {
                    sequence[step as usize] = code;
                }
            }
        }
        let mut mask = vec![false; self.num_codebooks * num_steps];
        for (k, steps) in self.rows_within(num_steps).iter().enumerate() {
            steps.iter().for_each(|&step| mask[k * num_steps + step as usize] = true);
        }
        Ok((sequence, mask))
    }

    /// The inverse: sequence [batch, K, num_steps] -> (codes [batch, K, T] with `special` where the sequence ends before
    /// the code, mask [K, T]: true where it does not).
    pub fn deinterleave<T: Token>(
        &self,
        sequence: &[T],
        batch: usize,
        num_steps: usize,
        special: i64,
    ) -> Result<(Vec<T>, Vec<bool>)> {
        let special = fit(special)?;
        let mut codes = vec![special; self.size(batch, self.num_frames)?];
        if let Some(begins) = &self.runs {
            T::deinterleave(sequence, begins, num_steps, self.num_frames, special, &mut codes);
        } else if num_steps > 0 {
            let rows = sequence.chunks_exact(num_steps).zip(codes.chunks_exact_mut(self.num_frames));
            for ((sequence, codes), steps) in rows.zip(self.rows_within(num_steps).iter().cycle()) {
                for (&step, code) in steps.iter().zip(codes) {
                    *code = sequence[step as usize];
                }
            }
        }
        let mask = self.steps.iter().map(|&step| step < num_steps as i64);
        Ok((codes, mask.collect()))
    }

    /// Each codebook's steps that a sequence of this length holds.
    fn rows_within(&self, num_steps: usize) -> Vec<&'a [i64]> {
        let row = |k: usize| &self.steps[k * self.num_frames..(k + 1) * self.num_frames];
        let within = |row: &'a [i64]| &row[..row.partition_point(|&step| step < num_steps as i64)];
        (0..self.num_codebooks).map(|k| within(row(k))).collect()
    }

    fn size(&self, batch: usize, width: usize) -> Result<usize> {
        let rows = batch.checked_mul(self.num_codebooks);
        rows.and_then(|rows| rows.checked_mul(width)).filter(|&size| size <= MAX_ELEMENTS).ok_or_else(|| {
            Error::value(format!(
                "{batch} x {} x {width} codes are too many for one array; {MAX_ELEMENTS} fit",
                self.num_codebooks
            ))
        })
    }
}

fn fit<T: Token>(special: i64) -> Result<T> {
    T::from_special(special).ok_or_else(|| {
        Error::value(format!("special token {special} does not fit the {} codes", std::any::type_name::<T>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(num_codebooks: usize, num_frames: usize) -> Vec<i64> {
        (0..num_codebooks).flat_map(|k| (0..num_frames).map(move |t| (k * (k + 1) / 2 + t + 1) as i64)).collect()
    }

    fn unrolled(num_codebooks: usize, num_frames: usize) -> Vec<i64> {
        (0..num_codebooks).flat_map(|k| (0..num_frames).map(move |t| (num_codebooks * t + k + 1) as i64)).collect()
    }

    #[test]
    fn inverse_gives_back_what_went_in() {
        for table in [delays, unrolled] {
            for num_codebooks in 1..=16usize {
                for num_frames in [0, 1, 2, 5, 33] {
                    let steps = table(num_codebooks, num_frames);
                    let layout = Layout::new(&steps, num_codebooks, num_frames).unwrap();
                    let codes: Vec<u16> = (0..2 * num_codebooks * num_frames).map(|i| i as u16).collect();
                    let num_steps = steps.iter().max().map_or(1, |last| *last as usize + 1);
                    let (sequence, mask) = layout.interleave(&codes, 2, num_steps, 9999).unwrap();
                    assert_eq!(mask.iter().filter(|m| **m).count(), num_codebooks * num_frames);
                    let (back, mask) = layout.deinterleave(&sequence, 2, num_steps, 9999).unwrap();
                    assert_eq!(back, codes);
                    assert!(mask.iter().all(|m| *m));
                }
            }
        }
    }

    #[test]
    fn both_paths_agree() {
        let (num_codebooks, num_frames) = (3, 7);
        let steps = delays(num_codebooks, num_frames);
        let fast = Layout::new(&steps, num_codebooks, num_frames).unwrap();
        let slow = Layout { steps: &steps, num_codebooks, num_frames, runs: None };
        assert!(fast.runs.is_some());
        let codes: Vec<i64> = (0..2 * 21).collect();
        for num_steps in 0..14 {
            let sequence = fast.interleave(&codes, 2, num_steps, 99).unwrap();
            assert_eq!(sequence, slow.interleave(&codes, 2, num_steps, 99).unwrap());
            let back = fast.deinterleave(&sequence.0, 2, num_steps, 99).unwrap();
            assert_eq!(back, slow.deinterleave(&sequence.0, 2, num_steps, 99).unwrap());
        }
    }
}
