//! Joint stereo of layer III: middle and side, and intensity (ISO/IEC 11172-3, 2.4.3.4.9; 13818-3, 2.4.3.2).

use std::f32::consts::FRAC_1_SQRT_2;
use std::f64::consts::{self, PI, SQRT_2};
use std::sync::LazyLock;

use crate::mpeg_bands::Bands;
use crate::mpeg_header::Header;
use crate::mpeg_side_info::Granule;
use crate::mpeg_spectrum::edges;

/// Of what a frame's header announces.
#[derive(Clone, Copy)]
pub struct Joint {
    pub middle_side: bool,
    pub intensity: bool,
}

/// Factors of the left and the right channel by intensity position; positions from `LEGAL` on mean none.
type Ratios = [(f32, f32); 31];

const LEGAL_MPEG1: usize = 7;
const LEGAL_MPEG2: usize = 31;

static RATIOS_MPEG1: LazyLock<Ratios> = LazyLock::new(|| {
    std::array::from_fn(|position| match position {
        0..6 => {
            let ratio = (PI / 12.0 * position as f64).tan();
            ((ratio / (1.0 + ratio)) as f32, (1.0 / (1.0 + ratio)) as f32)
        }
        _ => (1.0, 0.0), // tan(pi / 2)
    })
});

/// By the lowest bit of scalefac_compress.
static RATIOS_MPEG2: LazyLock<[Ratios; 2]> = LazyLock::new(|| {
    [1.0 / SQRT_2.sqrt(), consts::FRAC_1_SQRT_2].map(|base: f64| {
        std::array::from_fn(|position| match position {
            position if position % 2 == 1 => (base.powf((position + 1) as f64 / 2.0) as f32, 1.0),
            position => (1.0, base.powf(position as f64 / 2.0) as f32),
        })
    })
});

/// Builds the tables, so that no fork can come in the midst of it.
pub fn prepare() {
    LazyLock::force(&RATIOS_MPEG1);
    LazyLock::force(&RATIOS_MPEG2);
}

/// Makes left and right of a granule's two channels. Err: why it cannot.
pub fn decode(
    header: &Header,
    joint: Joint,
    bands: &Bands,
    granules: &mut [Granule; 2],
    lines: &mut [[f32; 576]; 2],
) -> Result<(), &'static str> {
    if granules[0].block != granules[1].block {
        return Err("joint stereo of blocks of different kinds");
    }
    let [left, right] = lines;
    let end = granules[0].end.max(granules[1].end);
    let bound =
        if joint.intensity { spread_intensity(header, joint, bands, &granules[1], end, left, right) } else { end };
    if joint.middle_side {
        decode_middle_side(&mut left[..bound], &mut right[..bound]);
    }
    if joint.intensity || joint.middle_side {
        (granules[0].end, granules[1].end) = (end, end);
    }
    Ok(())
}

fn decode_middle_side(middle: &mut [f32], side: &mut [f32]) {
    for (m, s) in middle.iter_mut().zip(side) {
        (*m, *s) = ((*m + *s) * FRAC_1_SQRT_2, (*m - *s) * FRAC_1_SQRT_2);
    }
}

/// Bands that the right channel leaves empty at its upper end take their lines from the left channel, and their factors
/// from the right channel's scale factors. In short blocks, each window has an end of its own. Where the lines begin
/// that this dealt with, middle and side of the other windows included.
fn spread_intensity(
    header: &Header,
    joint: Joint,
    bands: &Bands,
    granule: &Granule,
    end: usize,
    left: &mut [f32; 576],
    right: &mut [f32; 576],
) -> usize {
    let (ratios, legal) = match header.is_mpeg1 {
        true => (&*RATIOS_MPEG1, LEGAL_MPEG1),
        false => (&RATIOS_MPEG2[(granule.compress & 1) as usize], LEGAL_MPEG2),
    };
    let (edges, num_long) = edges(granule.block, bands);
    // The last band, or the last of each window, has no scale factor: it takes that of the one before.
    let num_bands = edges.len() - 1;
    let shared = if num_long == num_bands { 1 } else { 3 };
    let position =
        |band: usize| usize::from(granule.scale[if band + shared >= num_bands { band - shared } else { band }]);
    let spread = |band: usize, left: &mut [f32; 576], right: &mut [f32; 576]| {
        let range = edges[band]..edges[band + 1];
        let (left, right) = (&mut left[range.clone()], &mut right[range]);
        if position(band) < legal {
            let (of_left, of_right) = ratios[position(band)];
            for (l, r) in left.iter_mut().zip(right) {
                (*l, *r) = (of_left * *l, of_right * *l);
            }
        } else if joint.middle_side {
            decode_middle_side(left, right);
        }
    };
    let is_empty =
        |band: usize, right: &[f32; 576]| right[edges[band]..edges[band + 1]].iter().all(|&line| line == 0.0);

    let mut bound = end;
    let mut window_empty = [true; 3];
    for band in (num_long..num_bands).rev() {
        let window = (band - num_long) % 3;
        window_empty[window] &= is_empty(band, right);
        if window_empty[window] {
            spread(band, left, right);
        } else if joint.middle_side {
            let range = edges[band]..edges[band + 1];
            decode_middle_side(&mut left[range.clone()], &mut right[range]);
        }
        if window == 0 {
            bound = edges[band];
            if window_empty == [false; 3] {
                return bound;
            }
        }
    }
    for band in (0..num_long).rev() {
        if !is_empty(band, right) {
            break;
        }
        spread(band, left, right);
        bound = edges[band];
    }
    bound
}
