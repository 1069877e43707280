//! Which tracks' codes have been compared with their digest: one bit each (128 kB for a million), set once.

use std::sync::atomic::{AtomicU64, Ordering};

pub struct Checked(Vec<AtomicU64>);

impl Checked {
    pub fn none_of(num_tracks: usize) -> Self {
        Self((0..num_tracks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Runs `check` unless it has succeeded for `track` before. Two threads at once may both run it.
    pub fn once<E>(&self, track: usize, check: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let (word, bit) = (&self.0[track / 64], 1 << (track % 64));
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        check()?;
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_checked_until_it_passes() {
        let checked = Checked::none_of(131);
        let mut runs = 0;
        for (track, good) in [(0, true), (0, true), (130, false), (130, true), (130, true), (64, true)] {
            let result = checked.once(track, || {
                runs += 1;
                if good { Ok(()) } else { Err(()) }
            });
            assert_eq!(result.is_ok(), good);
        }
        assert_eq!(runs, 4);
    }
}
