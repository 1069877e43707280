//! Which tracks' codes have been compared with their digest: one bit each, set once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits for a number of tracks; the memory (128 kB for a million) is taken at the first use.
#[derive(Default)]
pub struct Checked {
    words: OnceLock<Box<[AtomicU64]>>,
}

impl Checked {
    /// Runs `check` unless it has succeeded for `track` before. Two threads at once may both run it.
    pub fn once<E>(&self, track: usize, num_tracks: usize, check: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let words = self.words.get_or_init(|| (0..num_tracks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect());
        let (word, bit) = (&words[track / 64], 1 << (track % 64));
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
        let checked = Checked::default();
        let mut runs = 0;
        for (track, good) in [(0, true), (0, true), (130, false), (130, true), (130, true), (64, true)] {
            let result = checked.once(track, 131, || {
                runs += 1;
                if good { Ok(()) } else { Err(()) }
            });
            assert_eq!(result.is_ok(), good);
        }
        assert_eq!(runs, 4);
    }
}
