//! Which track a sample of a run comes from: a pure function of (seed, stream, sample number), in O(log tracks).
//!
//! Sample n is sample (epoch, index) = divmod(n, epoch_samples). Word 0 of its Philox block chooses the track; word 1 is
//! left for the start. With `shares`, samples go to corpora in blocks of 10,000: each block gives every corpus its exact
//! share, in an order of its own.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sampler::{self, below, permute, sample_block, unit};
use crate::track_list::{Chance, TrackList};

/// Samples over which shares are exact.
pub const BLOCK: u64 = 10_000;

/// How samples are drawn.
pub struct Options {
    pub seed: u64,
    pub stream: u64,
    pub chance: Chance,
    /// false: the tracks of a population come in random order, each once before any comes again.
    pub replacement: bool,
    /// Share of the samples that each list gets, in any unit; None: one population of all lists.
    pub shares: Option<Vec<f64>>,
    /// Samples per epoch; None: as many as there are tracks.
    pub epoch_samples: Option<u64>,
}

pub struct Sampler {
    key: [u64; 2],
    chance: Chance,
    replacement: bool,
    epoch_samples: u64,
    lists: Vec<Arc<TrackList>>,
    populations: Vec<Population>,
    /// End of each population's slots in a block; only with shares.
    slot_ends: Option<Vec<u64>>,
}

/// Lists that are drawn from as one.
struct Population {
    first_list: usize,
    /// Tracks, and chances, of the population's lists up to and with each.
    track_ends: Vec<u64>,
    chance_ends: Vec<f64>,
    equal: bool,
}

/// Where one sample comes from.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    pub epoch: u64,
    pub index: u64,
    pub list: usize,
    /// Within the list.
    pub track: usize,
    pub start_word: u64,
}

impl Sampler {
    pub fn new(lists: Vec<Arc<TrackList>>, options: Options) -> Result<Self> {
        let num_tracks: u64 = lists.iter().map(|list| list.num_tracks() as u64).sum();
        if num_tracks == 0 {
            return Err(Error::value("no tracks to draw from"));
        }
        if !options.replacement && options.chance != Chance::Equal {
            let message = "without replacement every track comes equally often: draw by track, or with replacement";
            return Err(Error::value(message));
        }
        let chance = options.chance;
        let groups: Vec<std::ops::Range<usize>> = match &options.shares {
            None => std::iter::once(0..lists.len()).collect(),
            Some(shares) if shares.len() == lists.len() => (0..lists.len()).map(|list| list..list + 1).collect(),
            Some(shares) => {
                return Err(Error::value(format!("{} shares for {} lists of tracks", shares.len(), lists.len())));
            }
        };
        let populations: Vec<Population> =
            groups.into_iter().map(|group| Population::new(&lists, group, chance)).collect();
        let slot_ends = options.shares.as_deref().map(apportion).transpose()?;
        for (number, population) in populations.iter().enumerate() {
            let wanted = slot_ends.as_ref().is_none_or(|ends| slots_of(ends, number) > 0);
            if wanted && !(population.chance_ends.last().is_some_and(|total| total.is_finite() && *total > 0.0)) {
                let total = population.chance_ends.last().copied().unwrap_or(0.0);
                let message =
                    format!("list of tracks {number}: the weights sum to {total}; at least one must be positive");
                return Err(Error::value(message));
            }
        }
        let epoch_samples = options.epoch_samples.unwrap_or(num_tracks);
        if epoch_samples == 0 {
            return Err(Error::value("an epoch of 0 samples"));
        }
        Ok(Self {
            key: [options.seed, options.stream],
            chance,
            replacement: options.replacement,
            epoch_samples,
            lists,
            populations,
            slot_ends,
        })
    }

    pub fn lists(&self) -> &[Arc<TrackList>] {
        &self.lists
    }

    pub fn pick(&self, sample: u64) -> Pick {
        let (epoch, index) = (sample / self.epoch_samples, sample % self.epoch_samples);
        let [track_word, start_word, ..] = sample_block(self.key, epoch, index);
        let (number, ordinal) = match &self.slot_ends {
            None => (0, sample),
            Some(ends) => self.place(ends, sample),
        };
        let population = &self.populations[number];
        let num_tracks = *population.track_ends.last().expect("checked: there are tracks");
        let (list, track) = if !self.replacement {
            let (round, index) = (ordinal / num_tracks, ordinal % num_tracks);
            population.split(permute(self.key, sampler::ORDER + number as u64, round, index, num_tracks))
        } else if population.equal {
            population.split(below(track_word, num_tracks))
        } else {
            population.choose(&self.lists, self.chance, unit(track_word))
        };
        Pick { epoch, index, list, track, start_word }
    }

    /// (population, number of its earlier samples) of a sample.
    fn place(&self, ends: &[u64], sample: u64) -> (usize, u64) {
        let (block, at) = (sample / BLOCK, sample % BLOCK);
        let slot = permute(self.key, sampler::SLOTS, block, at, BLOCK);
        let number = ends.partition_point(|end| *end <= slot);
        let count = slots_of(ends, number);
        (number, block * count + (slot - (ends[number] - count)))
    }
}

impl Population {
    fn new(lists: &[Arc<TrackList>], group: std::ops::Range<usize>, chance: Chance) -> Self {
        let (mut tracks, mut total) = (0, 0.0);
        let (mut track_ends, mut chance_ends) = (Vec::new(), Vec::new());
        for list in &lists[group.clone()] {
            tracks += list.num_tracks() as u64;
            total += list.total(chance);
            track_ends.push(tracks);
            chance_ends.push(total);
        }
        let mut weights = lists[group.clone()].iter().filter(|list| list.num_tracks() > 0).map(|l| l.equal_weight());
        let first = weights.next().flatten();
        let same = first.is_some() && weights.all(|weight| weight == first);
        let equal = chance == Chance::Equal || (chance == Chance::Weight && same);
        Self { first_list: group.start, track_ends, chance_ends, equal }
    }

    /// (list, track within it) of a track's number in the population.
    fn split(&self, track: u64) -> (usize, usize) {
        let at = self.track_ends.partition_point(|end| *end <= track);
        let begin = if at == 0 { 0 } else { self.track_ends[at - 1] };
        (self.first_list + at, (track - begin) as usize)
    }

    /// The track at share `u` of all chances.
    fn choose(&self, lists: &[Arc<TrackList>], chance: Chance, u: f64) -> (usize, usize) {
        let total = self.chance_ends[self.chance_ends.len() - 1];
        let target = u * total;
        let mut at = self.chance_ends.partition_point(|end| *end <= target);
        if at == self.chance_ends.len() {
            at = self.chance_ends.partition_point(|end| *end < total); // as in TrackList::choose
        }
        let begin = if at == 0 { 0.0 } else { self.chance_ends[at - 1] };
        let list = self.first_list + at;
        (list, lists[list].choose(chance, target - begin))
    }
}

/// Slots of a block for each share, by largest remainder; returns where each list's slots end.
fn apportion(shares: &[f64]) -> Result<Vec<u64>> {
    let total: f64 = shares.iter().sum();
    if let Some(list) = shares.iter().position(|share| !(share.is_finite() && *share >= 0.0)) {
        return Err(Error::value(format!(
            "share {} of list {list}; it must be a number and not negative",
            shares[list]
        )));
    }
    if !(total.is_finite() && total > 0.0) {
        return Err(Error::value(format!("the shares sum to {total}; at least one must be positive")));
    }
    let exact: Vec<f64> = shares.iter().map(|share| share / total * BLOCK as f64).collect();
    let mut slots: Vec<u64> = exact.iter().map(|slots| slots.floor() as u64).collect();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by(|&a, &b| (exact[b] - exact[b].floor()).total_cmp(&(exact[a] - exact[a].floor())));
    let missing = BLOCK.saturating_sub(slots.iter().sum());
    for &list in by_remainder.iter().take(missing as usize) {
        slots[list] += 1;
    }
    if let Some(list) = (0..shares.len()).find(|&list| shares[list] > 0.0 && slots[list] == 0) {
        let message = format!("share {} of {total} is below 1 in {BLOCK}; give it more, or 0", shares[list]);
        return Err(Error::value(message));
    }
    let mut end = 0;
    Ok(slots
        .into_iter()
        .map(|count| {
            end += count;
            end
        })
        .collect())
}

fn slots_of(ends: &[u64], number: usize) -> u64 {
    ends[number] - if number == 0 { 0 } else { ends[number - 1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_slots() {
        assert_eq!(apportion(&[7.0, 3.0]).unwrap(), [7_000, 10_000]);
        assert_eq!(apportion(&[1.0, 1.0, 1.0]).unwrap(), [3_334, 6_667, 10_000]);
        assert_eq!(apportion(&[0.0, 2.0]).unwrap(), [0, 10_000]);
        assert!(apportion(&[0.0]).is_err() && apportion(&[1.0, -1.0]).is_err() && apportion(&[f64::NAN]).is_err());
        assert!(apportion(&[1e9, 1.0]).unwrap_err().to_string().contains("below 1 in 10000"));
    }
}
