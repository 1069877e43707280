//! The delay pattern over rows = batch * codebooks: codes are only moved, whatever their type.

/// Token types that a pattern can be applied to.
pub trait Token: bytemuck::Pod {
    /// `special` in this type, if it fits.
    fn from_special(special: i64) -> Option<Self>;

    /// Row r of `out` [rows, num_steps] is `special` except that step 1 + delays[r % K] + t holds codes[r][t]. Codes
    /// that fall behind the last step are dropped.
    fn interleave(
        codes: &[Self],
        delays: &[u32],
        num_frames: usize,
        num_steps: usize,
        special: Self,
        out: &mut [Self],
    ) {
        check_rows(codes.len(), num_frames, out.len(), num_steps, delays.len());
        for r in 0..out.len().checked_div(num_steps).unwrap_or(0) {
            let row = &mut out[r * num_steps..][..num_steps];
            let begin = num_steps.min(1 + delays[r % delays.len()] as usize);
            let count = num_frames.min(num_steps - begin);
            row[..begin].fill(special);
            row[begin..begin + count].copy_from_slice(&codes[r * num_frames..][..count]);
            row[begin + count..].fill(special);
        }
    }

    /// The inverse: out[r][t] = sequence[r][1 + delays[r % K] + t], or `special` where the sequence is too short.
    fn deinterleave(
        sequence: &[Self],
        delays: &[u32],
        num_steps: usize,
        num_frames: usize,
        special: Self,
        out: &mut [Self],
    ) {
        check_rows(sequence.len(), num_steps, out.len(), num_frames, delays.len());
        for r in 0..out.len().checked_div(num_frames).unwrap_or(0) {
            let row = &mut out[r * num_frames..][..num_frames];
            let begin = num_steps.min(1 + delays[r % delays.len()] as usize);
            let count = num_frames.min(num_steps - begin);
            row[..count].copy_from_slice(&sequence[r * num_steps + begin..][..count]);
            row[count..].fill(special);
        }
    }
}

macro_rules! token {
    ($($token:ty),*) => {
        $(impl Token for $token {
            fn from_special(special: i64) -> Option<Self> {
                Self::try_from(special).ok()
            }
        })*
    };
}

token!(u16, i16, i64);

fn check_rows(from: usize, from_width: usize, to: usize, to_width: usize, num_codebooks: usize) {
    assert!(num_codebooks > 0);
    assert!(from.is_multiple_of(from_width.max(1)) && to.is_multiple_of(to_width.max(1)));
    if from_width > 0 && to_width > 0 {
        assert!(from / from_width == to / to_width);
    }
}
