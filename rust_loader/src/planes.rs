//! Planar samples that grow as they are decoded: one buffer, handed to numpy without a copy when the length was known.

use symphonia::core::audio::GenericAudioBufferRef;

use crate::error::{Error, Result};
use crate::memory::{used, zeros};

/// Most samples, over all channels, that one call may decode: 8 GiB of float32, 6.7 hours of 44.1 kHz stereo.
pub const MAX_DECODED_SAMPLES: u64 = 1 << 31;

/// [num_channels, len] in one allocation whose rows are `stride` apart.
pub struct Planes {
    data: Vec<f32>,
    num_channels: usize,
    stride: usize,
    len: usize,
}

impl Planes {
    /// Room for `expected` samples per channel; it may turn out to be wrong either way, and more than there is.
    pub fn new(num_channels: usize, expected: usize) -> Self {
        let stride = expected.min(MAX_DECODED_SAMPLES as usize / num_channels);
        match used("", num_channels * stride) {
            Ok(data) => Self { data, num_channels, stride, len: 0 },
            Err(_) => Self { data: Vec::new(), num_channels, stride: 0, len: 0 },
        }
    }

    pub fn num_samples(&self) -> usize {
        self.len
    }

    /// Appends frames `from..to` of a decoded buffer.
    pub fn append(&mut self, name: &str, buffer: &GenericAudioBufferRef<'_>, from: usize, to: usize) -> Result<()> {
        let count = to - from;
        self.reserve(name, count)?;
        let (len, stride) = (self.len, self.stride);
        let mut rows: Vec<&mut [f32]> =
            self.data.chunks_exact_mut(stride).map(|row| &mut row[len..len + count]).collect();
        buffer.slice(from..to).copy_to_slice_planar::<f32, _>(&mut rows);
        self.len += count;
        Ok(())
    }

    /// Appends `count` samples, which `fill` puts into the row of each channel.
    pub fn append_with(&mut self, name: &str, count: usize, fill: impl Fn(usize, &mut [f32])) -> Result<()> {
        self.reserve(name, count)?;
        for (channel, row) in self.data.chunks_exact_mut(self.stride).enumerate() {
            fill(channel, &mut row[self.len..self.len + count]);
        }
        self.len += count;
        Ok(())
    }

    /// Multiplies everything by `gain`.
    pub fn scale(&mut self, gain: f32) {
        for x in &mut self.data {
            *x *= gain;
        }
    }

    /// Sets values too small to be heard or to matter to zero. libopus' de-emphasis filter comes to rest on a denormal
    /// number instead of zero, on which one depends on how long ago there was sound.
    pub fn flush_tiny(&mut self) {
        for x in &mut self.data {
            *x = if x.abs() < 1e-30 { 0.0 } else { *x };
        }
    }

    /// Whether the first samples are those of `other`, to the bit.
    pub fn begins_with(&self, other: &Self) -> bool {
        let bits = |planes: &Self, channel: usize| -> Vec<u32> {
            let row = channel * planes.stride;
            planes.data[row..row + other.len].iter().map(|x| x.to_bits()).collect()
        };
        self.num_channels == other.num_channels
            && self.len >= other.len
            && (0..self.num_channels).all(|channel| bits(self, channel) == bits(other, channel))
    }

    /// Drops the first `count` samples.
    pub fn drop_front(&mut self, count: usize) {
        for channel in 0..self.num_channels {
            let row = channel * self.stride;
            self.data.copy_within(row + count..row + self.len, row);
        }
        self.len -= count;
    }

    /// Drops the last `count` samples, or all.
    pub fn drop_back(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
    }

    /// Row-major [num_channels, len].
    pub fn into_vec(mut self) -> Vec<f32> {
        if self.len < self.stride {
            for channel in 1..self.num_channels {
                let row = channel * self.stride;
                self.data.copy_within(row..row + self.len, channel * self.len);
            }
            self.data.truncate(self.num_channels * self.len);
            if self.data.len() < self.data.capacity() / 4 * 3 {
                self.data.shrink_to_fit();
            }
        }
        self.data
    }

    fn reserve(&mut self, name: &str, count: usize) -> Result<()> {
        let needed = self.len + count;
        if needed <= self.stride {
            return Ok(());
        }
        let most = (MAX_DECODED_SAMPLES / self.num_channels as u64) as usize;
        if needed > most {
            let message =
                format!("decodes to more than {most} samples x {} channels; split the file", self.num_channels);
            return Err(Error::limit(name, message));
        }
        let stride = (self.stride + self.stride / 2).max(needed).max(1 << 16).min(most);
        let mut data = zeros(name, self.num_channels * stride)?;
        for channel in 0..self.num_channels {
            let row = &self.data[channel * self.stride..channel * self.stride + self.len];
            data[channel * stride..channel * stride + self.len].copy_from_slice(row);
        }
        (self.data, self.stride) = (data, stride);
        Ok(())
    }
}
