//! Scale factor bands of layer III: ISO/IEC 11172-3, Table B.8; 13818-3, Table B.2; MPEG-2.5 as LAME and FFmpeg have them.

/// Where bands begin and end, in lines, for one sampling rate.
pub struct Bands {
    pub long: [usize; 23],
    /// Three windows per band, one after the other.
    pub short: [usize; 40],
    /// Long bands up to line 36, then short ones, of which `mixed_long` says how many are long.
    pub mixed: Vec<usize>,
    pub mixed_long: usize,
}

const LONG: [[usize; 23]; 6] = [
    [0, 4, 8, 12, 16, 20, 24, 30, 36, 44, 52, 62, 74, 90, 110, 134, 162, 196, 238, 288, 342, 418, 576],
    [0, 4, 8, 12, 16, 20, 24, 30, 36, 42, 50, 60, 72, 88, 106, 128, 156, 190, 230, 276, 330, 384, 576],
    [0, 4, 8, 12, 16, 20, 24, 30, 36, 44, 54, 66, 82, 102, 126, 156, 194, 240, 296, 364, 448, 550, 576],
    [0, 6, 12, 18, 24, 30, 36, 44, 54, 66, 80, 96, 116, 140, 168, 200, 238, 284, 336, 396, 464, 522, 576],
    [0, 6, 12, 18, 24, 30, 36, 44, 54, 66, 80, 96, 114, 136, 162, 194, 232, 278, 332, 394, 464, 540, 576],
    [0, 12, 24, 36, 48, 60, 72, 88, 108, 132, 160, 192, 232, 280, 336, 400, 476, 566, 568, 570, 572, 574, 576],
];

/// For one window.
const SHORT: [[usize; 14]; 7] = [
    [0, 4, 8, 12, 16, 22, 30, 40, 52, 66, 84, 106, 136, 192],
    [0, 4, 8, 12, 16, 22, 28, 38, 50, 64, 80, 100, 126, 192],
    [0, 4, 8, 12, 16, 22, 30, 42, 58, 78, 104, 138, 180, 192],
    [0, 4, 8, 12, 18, 24, 32, 42, 56, 74, 100, 132, 174, 192],
    [0, 4, 8, 12, 18, 26, 36, 48, 62, 80, 104, 136, 180, 192],
    [0, 4, 8, 12, 18, 26, 36, 48, 62, 80, 104, 134, 174, 192],
    [0, 8, 16, 24, 36, 52, 72, 96, 124, 160, 162, 164, 166, 192],
];

impl Bands {
    pub fn new(sample_rate_hz: u32) -> Self {
        let (long, short) = match sample_rate_hz {
            48_000 => (1, 1),
            32_000 => (2, 2),
            22_050 => (3, 3),
            24_000 => (4, 4),
            16_000 | 12_000 | 11_025 => (3, 5),
            8_000 => (5, 6),
            _ => (0, 0), // 44,100
        };
        let (long, one_window) = (LONG[long], SHORT[short]);
        let short = std::array::from_fn(|i| {
            let (band, window) = (i / 3, i % 3);
            let width = if band < 13 { one_window[band + 1] - one_window[band] } else { 0 };
            3 * one_window[band] + window * width
        });
        let mixed_long = long.iter().position(|&line| line == 36).unwrap_or(0);
        // At 8 kHz no band of short windows begins at line 36: the one around it is cut there, as Symphonia does.
        let (cut, first) = if sample_rate_hz == 8_000 { (&[36, 40, 44, 48, 56, 64][..], 9) } else { (&[][..], 9) };
        let mixed = [&long[..mixed_long], cut, &short[first..]].concat();
        Self { long, short, mixed, mixed_long }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_every_line_once() {
        for sample_rate_hz in [44_100, 48_000, 32_000, 22_050, 24_000, 16_000, 11_025, 12_000, 8_000] {
            let Bands { long, short, mixed, mixed_long } = Bands::new(sample_rate_hz);
            for edges in [&long[..], &short, &mixed] {
                assert!(edges.is_sorted() && edges[0] == 0 && edges[edges.len() - 1] == 576, "{sample_rate_hz}");
            }
            assert_eq!((mixed[mixed_long], mixed[mixed_long - 1] < 36), (36, true), "{sample_rate_hz}");
            assert_eq!((mixed.len() - 1 - mixed_long) % 3, 0, "{sample_rate_hz}: three windows per band");
            for windows in [&short[..], &mixed[mixed_long..]] {
                for at in (0..windows.len() - 3).step_by(3) {
                    let widths: Vec<usize> = (at..at + 3).map(|i| windows[i + 1] - windows[i]).collect();
                    assert!(widths.iter().all(|&width| width == widths[0] && width > 0), "{sample_rate_hz} {at}");
                }
            }
        }
    }
}
