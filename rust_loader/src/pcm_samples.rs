//! Samples as WAV and AIFF files hold them, and what they are as float32.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    U8,
    I8,
    I16Le,
    I16Be,
    I24Le,
    I24Be,
    I32Le,
    I32Be,
    F32Le,
    F64Le,
}

impl Sample {
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16Le | Self::I16Be => 2,
            Self::I24Le | Self::I24Be => 3,
            Self::I32Le | Self::I32Be | Self::F32Le => 4,
            Self::F64Le => 8,
        }
    }

    /// Symphonia's name.
    pub fn codec(self) -> &'static str {
        match self {
            Self::U8 => "pcm_u8",
            Self::I8 => "pcm_s8",
            Self::I16Le => "pcm_s16le",
            Self::I16Be => "pcm_s16be",
            Self::I24Le => "pcm_s24le",
            Self::I24Be => "pcm_s24be",
            Self::I32Le => "pcm_s32le",
            Self::I32Be => "pcm_s32be",
            Self::F32Le => "pcm_f32le",
            Self::F64Le => "pcm_f64le",
        }
    }
}

/// Interleaved bytes into rows of float32.
pub fn convert(sample: Sample, bytes: &[u8], rows: &mut [&mut [f32]]) {
    const I16: f32 = 1.0 / 32_768.0;
    const I24: f32 = 1.0 / 8_388_608.0;
    const I32: f32 = 1.0 / 2_147_483_648.0;
    match sample {
        Sample::U8 => spread::<1>(bytes, rows, |[a]| (f32::from(a) - 128.0) / 128.0),
        Sample::I8 => spread::<1>(bytes, rows, |[a]| f32::from(a as i8) / 128.0),
        Sample::I16Le => spread::<2>(bytes, rows, |x| f32::from(i16::from_le_bytes(x)) * I16),
        Sample::I16Be => spread::<2>(bytes, rows, |x| f32::from(i16::from_be_bytes(x)) * I16),
        Sample::I24Le => spread::<3>(bytes, rows, |[a, b, c]| (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 * I24),
        Sample::I24Be => spread::<3>(bytes, rows, |[a, b, c]| (i32::from_be_bytes([a, b, c, 0]) >> 8) as f32 * I24),
        Sample::I32Le => spread::<4>(bytes, rows, |x| i32::from_le_bytes(x) as f32 * I32),
        Sample::I32Be => spread::<4>(bytes, rows, |x| i32::from_be_bytes(x) as f32 * I32),
        Sample::F32Le => spread::<4>(bytes, rows, f32::from_le_bytes),
        Sample::F64Le => spread::<8>(bytes, rows, |x| f64::from_le_bytes(x) as f32),
    }
}

/// `decode` for every sample; one and two channels are written as loops that compilers turn into vectors.
fn spread<const BYTES: usize>(bytes: &[u8], rows: &mut [&mut [f32]], decode: impl Fn([u8; BYTES]) -> f32) {
    let (samples, _) = bytes.as_chunks::<BYTES>();
    match rows {
        [row] => {
            for (out, sample) in row.iter_mut().zip(samples) {
                *out = decode(*sample);
            }
        }
        [left, right] => {
            let (pairs, _) = samples.as_chunks::<2>();
            for ((left, right), pair) in left.iter_mut().zip(right.iter_mut()).zip(pairs) {
                (*left, *right) = (decode(pair[0]), decode(pair[1]));
            }
        }
        rows => {
            let num_channels = rows.len();
            for (channel, row) in rows.iter_mut().enumerate() {
                for (out, sample) in row.iter_mut().zip(samples.iter().skip(channel).step_by(num_channels)) {
                    *out = decode(*sample);
                }
            }
        }
    }
}
