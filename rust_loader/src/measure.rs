//! How loud audio is, and where it begins and ends.

use ebur128::{EbuR128, Mode};

use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::kernels;

pub struct Measure {
    /// Largest |sample|.
    pub peak: f32,
    /// Root mean square over all samples of all channels.
    pub rms: f32,
    /// Integrated loudness (EBU R 128); None for silence and for less than one 400 ms block.
    pub loudness_lufs: Option<f64>,
    /// Peak of the oversampled signal, loudest channel; None for digital silence.
    pub true_peak_dbtp: Option<f64>,
}

/// Between two looks at whether the caller was interrupted: some milliseconds.
const BLOCK_SAMPLES: usize = 1 << 16;

/// Planar [num_channels, num_samples].
pub fn measure(x: &[f32], num_channels: usize, sample_rate_hz: u32, interrupt: Interrupt<'_>) -> Result<Measure> {
    let num_samples = x.len() / num_channels;
    if num_samples == 0 {
        return Ok(Measure { peak: 0.0, rms: 0.0, loudness_lufs: None, true_peak_dbtp: None });
    }
    if let Some(index) = kernels::first_nonfinite(x) {
        return Err(Error::value(format!(
            "sample {} of channel {} is {}",
            index % num_samples,
            index / num_samples,
            x[index]
        )));
    }
    let mut meter = EbuR128::new(num_channels as u32, sample_rate_hz, Mode::I | Mode::TRUE_PEAK)
        .map_err(|e| Error::value(format!("cannot measure {num_channels} channels at {sample_rate_hz} Hz: {e}")))?;
    let rows: Vec<&[f32]> = x.chunks_exact(num_samples).collect();
    for from in (0..num_samples).step_by(BLOCK_SAMPLES) {
        interrupt()?;
        let block: Vec<&[f32]> = rows.iter().map(|row| &row[from..num_samples.min(from + BLOCK_SAMPLES)]).collect();
        meter.add_frames_planar_f32(&block).map_err(|e| Error::value(format!("cannot measure: {e}")))?;
    }
    let loudness = meter.loudness_global().ok().filter(|lufs| lufs.is_finite());
    let true_peak = (0..num_channels as u32).filter_map(|c| meter.true_peak(c).ok()).fold(0.0, f64::max);
    Ok(Measure {
        peak: kernels::peak(x),
        rms: (kernels::sum_of_squares(x) / x.len() as f64).sqrt() as f32,
        loudness_lufs: loudness,
        true_peak_dbtp: (true_peak > 0.0).then(|| 20.0 * true_peak.log10()),
    })
}

/// First, and one past the last, sample above `threshold_dbfs` on any channel; (0, 0) when none is.
pub fn sound_bounds(x: &[f32], num_channels: usize, threshold_dbfs: f64) -> (usize, usize) {
    let num_samples = x.len() / num_channels;
    if num_samples == 0 {
        return (0, 0);
    }
    let threshold = 10f64.powf(threshold_dbfs / 20.0) as f32;
    let rows = || x.chunks_exact(num_samples);
    let start = rows().map(|row| kernels::first_above(row, threshold)).min().unwrap_or(num_samples);
    let end = rows().map(|row| kernels::end_above(row, threshold)).max().unwrap_or(0);
    if start < end { (start, end) } else { (0, 0) }
}
