//! What an Opus packet says of itself before it is decoded (RFC 6716, section 3).

/// The first configuration of the CELT-only modes; those below are SILK and hybrid.
const FIRST_CELT_CONFIG: u8 = 16;

/// Whether all frames are of the CELT-only modes and none asks for concealment, as frames of at most one byte do
/// (discontinuous transmission, or a lost frame).
///
/// The decoder's memory of such frames fades: band energies are predicted with a factor below 0.9 per frame, the pitch
/// filter's gain is at most 0.75, de-emphasis forgets 15 % per sample. SILK predicts from its own output with a gain
/// that may stay near 1, and concealment draws from a generator that never forgets.
pub fn memory_fades(packet: &[u8]) -> bool {
    let Some((&toc, rest)) = packet.split_first() else { return false };
    toc >> 3 >= FIRST_CELT_CONFIG && shortest_frame(toc & 3, rest).is_some_and(|bytes| bytes > 1)
}

/// Samples at 48 kHz that a packet decodes to; None where it is malformed.
pub fn num_samples(packet: &[u8]) -> Option<u64> {
    let (&toc, rest) = packet.split_first()?;
    let frame = match toc >> 3 {
        config @ ..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    Some(frame * count).filter(|samples| (1..=5760).contains(samples))
}

/// Bytes of the shortest frame; None where the packet is malformed.
fn shortest_frame(code: u8, rest: &[u8]) -> Option<usize> {
    match code {
        0 => Some(rest.len()),
        1 => rest.len().is_multiple_of(2).then_some(rest.len() / 2),
        2 => {
            let (first, rest) = frame_length(rest)?;
            Some(first.min(rest.len().checked_sub(first)?))
        }
        _ => {
            let (&flags, mut rest) = rest.split_first()?;
            let count = usize::from(flags & 0x3f);
            let mut padding = 0;
            let mut more = flags & 0x40 != 0;
            while more {
                let (&byte, after) = rest.split_first()?;
                (rest, more) = (after, byte == 255);
                padding += usize::from(byte.min(254));
            }
            if count == 0 {
                return None;
            }
            if flags & 0x80 == 0 {
                return Some(rest.len().checked_sub(padding)? / count);
            }
            let (mut shortest, mut total) = (usize::MAX, 0);
            for _ in 1..count {
                let (bytes, after) = frame_length(rest)?;
                (shortest, total, rest) = (shortest.min(bytes), total + bytes, after);
            }
            Some(shortest.min(rest.len().checked_sub(padding + total)?))
        }
    }
}

/// A length of one or two bytes (RFC 6716, section 3.2.1), and what follows it.
fn frame_length(data: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = data.split_first()?;
    if first < 252 {
        return Some((usize::from(first), rest));
    }
    let (&second, rest) = rest.split_first()?;
    Some((usize::from(first) + 4 * usize::from(second), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELT: u8 = 28 << 3;

    #[test]
    fn frames_of_every_packing() {
        let packet = |code: u8, rest: &[u8]| [&[CELT | code], rest].concat();
        assert_eq!(shortest_frame(0, &[9; 30]), Some(30));
        assert_eq!(shortest_frame(1, &[9; 30]), Some(15));
        assert_eq!(shortest_frame(1, &[9; 31]), None);
        assert_eq!(shortest_frame(2, &[[3].as_slice(), &[0; 10]].concat()), Some(3));
        assert_eq!(shortest_frame(2, &[[252, 1].as_slice(), &[0; 300]].concat()), Some(44));
        assert_eq!(shortest_frame(3, &[[3].as_slice(), &[0; 30]].concat()), Some(10));
        assert_eq!(shortest_frame(3, &[[0x43, 6].as_slice(), &[0; 36]].concat()), Some(10));
        assert_eq!(shortest_frame(3, &[[0x83, 4, 5].as_slice(), &[0; 12]].concat()), Some(3));
        assert!(memory_fades(&packet(0, &[1, 2])));
        assert!(!memory_fades(&packet(0, &[1])));
        assert!(!memory_fades(&packet(3, &[])));
        assert!(!memory_fades(&[]));
    }

    #[test]
    fn durations_of_every_mode() {
        let milliseconds =
            |config: u8, code: u8| num_samples(&[config << 3 | code, 3]).map(|samples| samples as f64 / 48.0);
        assert_eq!([0, 1, 2, 3].map(|config| milliseconds(config, 0)), [10.0, 20.0, 40.0, 60.0].map(Some));
        assert_eq!([12, 13].map(|config| milliseconds(config, 1)), [20.0, 40.0].map(Some));
        assert_eq!([28, 29, 30, 31].map(|config| milliseconds(config, 3)), [7.5, 15.0, 30.0, 60.0].map(Some));
        assert_eq!(num_samples(&[3 << 3 | 3, 9]), None);
        assert_eq!(num_samples(&[]), None);
    }

    #[test]
    fn speech_modes_do_not_fade() {
        for config in 0..16 {
            assert!(!memory_fades(&[config << 3, 1, 2, 3, 4]));
        }
    }
}
