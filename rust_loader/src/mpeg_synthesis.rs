//! The polyphase synthesis filterbank of MPEG audio (ISO/IEC 11172-3, 2.4.3.4.10 and Annex B), layer III's part: 18 slots
//! of 32 subbands in, 576 samples out.
//!
//! The 64 x 32 matrixing is one DCT of 32 points (K. Konstantinides, "Fast subband filtering in MPEG audio coding", IEEE
//! Signal Processing Letters 1(2), 1994), done as B. G. Lee does ("A new algorithm to compute the discrete cosine
//! transform", IEEE Trans. ASSP 32(6), 1984), for four slots side by side. Sums are in the order of Symphonia's decoder,
//! which is the reference: outputs are equal to the bit.

use std::array::from_fn;
use std::sync::LazyLock;

use crate::lanes::Lanes;

/// Slots of a granule; rows hold a few more so that they can be taken four at a time.
pub const SLOTS: usize = 18;
pub const ROW: usize = SLOTS.next_multiple_of(Lanes::COUNT);
/// Slots that the window reaches back over, this one not counted.
const HISTORY: usize = 15;

/// Table B.3, D[0..=256] in units of 2^-16; D[512 - i] is D[i] where i is a multiple of 64, else -D[i].
#[rustfmt::skip]
const WINDOW: [i32; 257] = [
    0, -1, -1, -1, -1, -1, -1, -2, -2, -2, -2, -3, -3, -4, -4, -5, -5, -6, -7, -7, -8, -9, -10, -11, -13, -14, -16,
    -17, -19, -21, -24, -26, -29, -31, -35, -38, -41, -45, -49, -53, -58, -63, -68, -73, -79, -85, -91, -97, -104,
    -111, -117, -125, -132, -139, -147, -154, -161, -169, -176, -183, -190, -196, -202, -208, 213, 218, 222, 225, 227,
    228, 228, 227, 224, 221, 215, 208, 200, 189, 177, 163, 146, 127, 106, 83, 57, 29, -2, -36, -72, -111, -153, -197,
    -244, -294, -347, -401, -459, -519, -581, -645, -711, -779, -848, -919, -991, -1064, -1137, -1210, -1283, -1356,
    -1428, -1498, -1567, -1634, -1698, -1759, -1817, -1870, -1919, -1962, -2001, -2032, -2057, -2075, -2085, -2087,
    -2080, -2063, 2037, 2000, 1952, 1893, 1822, 1739, 1644, 1535, 1414, 1280, 1131, 970, 794, 605, 402, 185, -45,
    -288, -545, -814, -1095, -1388, -1692, -2006, -2330, -2663, -3004, -3351, -3705, -4063, -4425, -4788, -5153,
    -5517, -5879, -6237, -6589, -6935, -7271, -7597, -7910, -8209, -8491, -8755, -8998, -9219, -9416, -9585, -9727,
    -9838, -9916, -9959, -9966, -9935, -9863, -9750, -9592, -9389, -9139, -8840, -8492, -8092, -7640, -7134, 6574,
    5959, 5288, 4561, 3776, 2935, 2037, 1082, 70, -998, -2122, -3300, -4533, -5818, -7154, -8540, -9975, -11455,
    -12980, -14548, -16155, -17799, -19478, -21189, -22929, -24694, -26482, -28289, -30112, -31947, -33791, -35640,
    -37489, -39336, -41176, -43006, -44821, -46617, -48390, -50137, -51853, -53534, -55178, -56778, -58333, -59838,
    -61289, -62684, -64019, -65290, -66494, -67629, -68692, -69679, -70590, -71420, -72169, -72835, -73415, -73908,
    -74313, -74630, -74856, -74992, 75038,
];

/// The window for what `spread` makes of a slot, whose signs it bears.
static SIGNED_WINDOW: LazyLock<[[f32; 64]; 8]> = LazyLock::new(|| {
    let printed = |units: i32| {
        let exact = f64::from(units.abs()) * 1e9 / 65536.0;
        let nine_digits = if exact.fract() == 0.5 { exact.floor() } else { exact.round() }; // as Table B.3 has them
        (nine_digits / 1e9).copysign(f64::from(units)) as f32
    };
    let value = |i: usize| match i {
        0..=256 => printed(WINDOW[i]),
        _ if i.is_multiple_of(64) => printed(WINDOW[512 - i]),
        _ => -printed(WINDOW[512 - i]),
    };
    from_fn(|j| from_fn(|i| if i > 16 { -value(64 * j + i) } else { value(64 * j + i) }))
});

/// Builds the tables, so that no fork can come in the midst of it.
pub fn prepare() {
    LazyLock::force(&SIGNED_WINDOW);
}

/// One channel's filterbank.
pub struct Synthesis {
    /// The slots before the granule's, and the granule's.
    slots: Box<[[f32; 64]; HISTORY + ROW]>,
}

impl Synthesis {
    pub fn new() -> Self {
        Self { slots: Box::new([[0.0; 64]; HISTORY + ROW]) }
    }

    /// Samples of a granule from its subbands, [32, SLOTS] with rows of `ROW`.
    pub fn run(&mut self, subbands: &[[f32; ROW]; 32], out: &mut [f32; 32 * SLOTS]) {
        let window = &*SIGNED_WINDOW;
        for slot in (0..SLOTS).step_by(Lanes::COUNT) {
            let coefficients = dct32(from_fn(|band| Lanes::load(&subbands[band][slot..slot + Lanes::COUNT])));
            spread(&coefficients, &mut self.slots[HISTORY + slot..HISTORY + slot + Lanes::COUNT]);
        }
        for (slot, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let mut sums = [Lanes::splat(0.0); 8];
            let reach: &[[f32; 64]; 16] = self.slots[slot..].first_chunk().expect("16 slots");
            for (age, window) in window.iter().enumerate() {
                let (even, odd) = (&reach[15 - 2 * age], &reach[14 - 2 * age]);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = *sum + Lanes::load(&even[4 * i..]) * Lanes::load(&window[4 * i..]);
                    *sum = *sum + Lanes::load(&odd[32 + 4 * i..]) * Lanes::load(&window[32 + 4 * i..]);
                }
            }
            for (out, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
                *out = sum.to_array();
            }
        }
        self.slots.copy_within(SLOTS..SLOTS + HISTORY, 0);
    }
}

/// The 64 values of four slots' vectors V (11172-3, Figure A.2), but for their signs.
fn spread(coefficients: &[Lanes; 32], slots: &mut [[f32; 64]]) {
    let at = |i: usize| match i {
        0..16 => coefficients[16 + i],
        16 => Lanes::splat(0.0),
        17..32 => coefficients[48 - i],
        32..49 => coefficients[48 - i],
        _ => coefficients[i - 48],
    };
    for i in (0..64).step_by(Lanes::COUNT) {
        let columns = Lanes::transpose(from_fn(|k| at(i + k)));
        for (slot, column) in slots.iter_mut().zip(columns) {
            slot[i..i + Lanes::COUNT].copy_from_slice(&column.to_array());
        }
    }
}

/// A DCT of N points by two of half as many; the scale is 1 / (2 cos(pi (2 i + 1) / (2 N))).
macro_rules! dct {
    ($name:ident by $half:ident, $n:literal, $h:literal, $scale:expr) => {
        #[inline(always)]
        fn $name(x: [Lanes; $n]) -> [Lanes; $n] {
            const SCALE: [f32; $h] = $scale;
            let sums: [Lanes; $h] = from_fn(|i| x[i] + x[$n - 1 - i]);
            let differences: [Lanes; $h] = from_fn(|i| (x[i] - x[$n - 1 - i]) * SCALE[i]);
            let (even, odd) = ($half(sums), $half(differences));
            from_fn(|i| match i % 2 {
                0 => even[i / 2],
                _ if i == $n - 1 => odd[i / 2],
                _ => odd[i / 2] + odd[i / 2 + 1],
            })
        }
    };
}

#[inline(always)]
fn dct1(x: [Lanes; 1]) -> [Lanes; 1] {
    x
}

dct!(dct2 by dct1, 2, 1, [std::f32::consts::FRAC_1_SQRT_2]);
dct!(dct4 by dct2, 4, 2, [0.5411961, 1.306563]);
dct!(dct8 by dct4, 8, 4, [0.5097956, 0.6013449, 0.8999762, 2.5629156]);
dct!(dct16 by dct8, 16, 8, [
    0.5024193, 0.5224986, 0.56694406, 0.6468218, 0.7881546, 1.0606776, 1.7224472, 5.1011486,
]);
dct!(dct32 by dct16, 32, 16, [
    0.500603, 0.50547093, 0.5154473, 0.5310426, 0.5531039, 0.582935, 0.6225041, 0.6748083, 0.7445363, 0.8393496,
    0.9725682, 1.1694399, 1.4841646, 2.057781, 3.4076085, 10.190008,
]);
