//! How many frames before a segment have to be decoded: as far back as the bit reservoir goes, and no further.
//!
//! A layer III frame may begin its main data in the bytes that earlier frames left over (11172-3, 2.4.3.1). A decoder
//! that starts at frame s has only what is left over since s, never more than one that started at the beginning; from
//! the first frame for which that is enough, both hold the same bytes and go the same way.

use crate::mpeg_header::MainData;

/// Most frames that a main_data_begin can reach back over: 255 bytes (MPEG-2) in frames that hold 3 each would be 85,
/// but a reservoir of frames that small is never filled by them; 511 (MPEG-1) in frames of at least 58.
pub const MAX_REACH_FRAMES: u64 = 96;

/// Among `frames`, which follow each other, the last one to start at so that frame `target` finds all its main data and
/// leaves behind what it should. None when none of them will do.
pub fn start_for(frames: &[MainData], target: usize) -> Option<usize> {
    (0..=target).rev().find_map(|clean| (0..=clean).rev().find(|&start| is_filled(&frames[start..=clean])))
}

/// Whether a decoder that starts with the first of `frames` has all main data of the last.
fn is_filled(frames: &[MainData]) -> bool {
    let Some((last, before)) = frames.split_last() else { return false };
    before.iter().fold(0, left_over) >= last.begin
}

/// Bytes left in the reservoir after `frame`, with `left` there before it. If bytes are missing in front, what was to be
/// read from them is passed over.
fn left_over(left: u32, frame: &MainData) -> u32 {
    let missing = frame.begin.saturating_sub(left);
    let have = frame.begin - missing + frame.num_bytes;
    let used_bits = frame.used_bits.saturating_sub(8 * missing);
    have.saturating_sub(used_bits.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reservoir as bytes, named by their place in the whole file's main data.
    fn held(frames: &[MainData], start: usize) -> Vec<Vec<u64>> {
        let mut place: u64 = frames[..start].iter().map(|f| u64::from(f.num_bytes)).sum();
        let mut left: Vec<u64> = Vec::new();
        let mut seen = Vec::new();
        for frame in &frames[start..] {
            let keep = left.len().min(frame.begin as usize);
            let missing = 8 * (frame.begin as usize - keep);
            let mut buffer = left.split_off(left.len() - keep);
            buffer.extend(place..place + u64::from(frame.num_bytes));
            place += u64::from(frame.num_bytes);
            seen.push(buffer.clone());
            let used = (frame.used_bits as usize).saturating_sub(missing).div_ceil(8).min(buffer.len());
            left = buffer.split_off(used);
        }
        seen
    }

    #[test]
    fn from_the_start_chosen_on_everything_is_the_same() {
        let mut state = 1u64;
        let mut random = |below: u32| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32 % below
        };
        let mut shortest = 0;
        for round in 0..2000 {
            // an encoder: a frame begins where the last one ended, at most 255 bytes back; some skip, some lie
            let mut left = 0u32;
            let frames: Vec<MainData> = (0..30)
                .map(|_| {
                    let num_bytes = [11, 90, 381][round % 3] + random(20);
                    let lie = if random(25) == 0 { random(40) } else { 0 };
                    let begin = (left - random(10).min(left)).min(255) + lie;
                    let used = random((begin.min(left) + num_bytes) + 1);
                    left = begin.min(left) + num_bytes - used;
                    MainData { begin, num_bytes, used_bits: 8 * used }
                })
                .collect();
            let whole = held(&frames, 0);
            for target in [5, 17, 29] {
                let Some(start) = start_for(&frames, target) else { continue };
                shortest = shortest.max(start);
                assert_eq!(held(&frames, start)[target - start..], whole[target..], "round {round}, start {start}");
            }
        }
        assert_eq!(shortest, 29, "some frame needs nothing before it");
    }

    #[test]
    fn no_start_is_found_where_bytes_are_lost() {
        let frame = MainData { begin: 500, num_bytes: 10, used_bits: 80 };
        assert_eq!(start_for(&[frame; 20], 19), None);
        let mut frames = [frame; 20];
        frames[3].begin = 0;
        assert_eq!(start_for(&frames, 19), Some(3));
        assert_eq!(start_for(&frames, 2), None);
    }
}
