//! Audio: numpy in, numpy out. Shapes and units are documented in musicgen_core/native/.

use std::path::PathBuf;

use numpy::{PyArray2, PyReadonlyArray2, PyReadwriteArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::{array2, detached};
use crate::audio_segment::{Form, read_segment};
use crate::decode::{self, Audio};
use crate::error::{Error, Result};
use crate::filter::Preset;
use crate::kernels::Target;
use crate::memory::zeros;
use crate::stream::{MAX_SAMPLE_RATE_HZ, Source};
use crate::{kernels, measure as measures, resample as resampler, segments};

type Wav<'py> = Bound<'py, PyArray2<f32>>;

/// (container, codec, sample_rate_hz, num_channels, num_samples, tags)
type ProbeResult<'py> = (&'static str, &'static str, u32, usize, Option<u64>, Bound<'py, PyDict>);

#[pyfunction]
pub fn probe(py: Python<'_>, path: PathBuf) -> PyResult<ProbeResult<'_>> {
    let info = detached(py, |interrupt| decode::probe(Source::File(&path), interrupt))?;
    let tags = PyDict::new(py);
    for (name, value) in &info.tags {
        tags.set_item(name, value)?;
    }
    Ok((info.container, info.codec, info.sample_rate_hz, info.num_channels, info.num_samples, tags))
}

#[pyfunction]
pub fn decode_file(py: Python<'_>, path: PathBuf) -> PyResult<(Wav<'_>, u32)> {
    let audio = detached(py, |interrupt| decode::decode(Source::File(&path), interrupt))?;
    Ok(into_wav(py, audio))
}

#[pyfunction]
pub fn decode_bytes<'py>(py: Python<'py>, data: &Bound<'py, PyBytes>, name: &str) -> PyResult<(Wav<'py>, u32)> {
    let data = data.as_bytes();
    let audio = detached(py, |interrupt| decode::decode(Source::Bytes { name, data }, interrupt))?;
    Ok(into_wav(py, audio))
}

#[pyfunction]
pub fn decode_segment(
    py: Python<'_>,
    path: PathBuf,
    start_samples: i64,
    num_samples: i64,
    from_start: bool,
) -> PyResult<(Wav<'_>, u32)> {
    let start = not_negative("start_samples", start_samples)?;
    let count = not_negative("num_samples", num_samples)?;
    let audio =
        detached(py, |interrupt| segments::decode_segment(Source::File(&path), start, count, from_start, interrupt))?;
    Ok(into_wav(py, audio))
}

#[pyfunction]
pub fn mix_to_mono<'py>(py: Python<'py>, wav: PyReadonlyArray2<'py, f32>) -> PyResult<Wav<'py>> {
    let (samples, [num_channels, num_samples]) = planar(&wav)?;
    let mono = detached(py, |_| {
        let mut mono = zeros("mix", num_samples)?;
        kernels::mix_to_mono(samples, num_channels, &mut mono);
        Ok(mono)
    })?;
    Ok(array2(py, [1, num_samples], mono))
}

#[pyfunction]
pub fn resample<'py>(
    py: Python<'py>,
    wav: PyReadonlyArray2<'py, f32>,
    from_hz: u32,
    to_hz: u32,
    preset: &str,
) -> PyResult<Wav<'py>> {
    let (samples, [num_channels, _]) = planar(&wav)?;
    let preset = Preset::parse(preset)?;
    let out = detached(py, |interrupt| resampler::resample(samples, num_channels, preset, from_hz, to_hz, interrupt))?;
    Ok(array2(py, [num_channels, out.len() / num_channels], out))
}

/// The segment as an array; or, with `out`, how many samples of each of its rows are there.
#[pyfunction]
#[pyo3(signature = (source, name, start, count, sample_rate_hz, num_channels, preset, out, byte_range))]
#[expect(clippy::too_many_arguments, reason = "native.py names them")]
pub fn read_audio_segment<'py>(
    py: Python<'py>,
    source: AnySource<'py>,
    name: &str,
    start: i64,
    count: i64,
    sample_rate_hz: u32,
    num_channels: usize,
    preset: &str,
    out: Option<PyReadwriteArray2<'py, f32>>,
    byte_range: Option<(u64, u64)>,
) -> PyResult<(Option<Wav<'py>>, usize)> {
    let source = match (&source, byte_range) {
        (AnySource::Bytes(data), _) => Source::Bytes { name, data: data.as_bytes() },
        (AnySource::Path(path), None) => Source::File(path),
        (AnySource::Path(path), Some((offset, num_bytes))) => Source::Part { path, name, offset, num_bytes },
    };
    let (start, count) = (not_negative("start_samples", start)?, not_negative("num_samples", count)?);
    let form = Form { sample_rate_hz, num_channels, preset: Preset::parse(preset)? };
    let Some(mut out) = out else {
        let (samples, num_samples) = detached(py, |interrupt| {
            let segment = read_segment(source, start, count, &form, interrupt)?;
            let mut samples = zeros("read_segment", num_channels * segment.num_samples())?;
            segment.write(&mut samples, segment.num_samples(), interrupt)?;
            Ok((samples, segment.num_samples()))
        })?;
        return Ok((Some(array2(py, [num_channels, num_samples], samples)), num_samples));
    };
    let samples = out.as_slice_mut().map_err(|_| Error::value("out must be C-contiguous"))?;
    let num_samples = detached(py, |interrupt| {
        let segment = read_segment(source, start, count, &form, interrupt)?;
        segment.write(samples, count as usize, interrupt)?;
        Ok(segment.num_samples())
    })?;
    Ok((None, num_samples))
}

/// Encoded audio: a file, or its bytes.
#[derive(FromPyObject)]
pub enum AnySource<'py> {
    Bytes(Bound<'py, PyBytes>),
    Path(PathBuf),
}

/// Names of what the FIR can compute with on this machine, slowest first.
#[pyfunction]
pub fn kernel_targets() -> Vec<&'static str> {
    Target::available().map(Target::name).collect()
}

/// Makes the FIR use one of `kernel_targets`; returns what it used before.
#[pyfunction]
pub fn use_kernel_target(name: &str) -> PyResult<&'static str> {
    let Some(target) = Target::available().find(|target| target.name() == name) else {
        let names = kernel_targets().join(", ");
        return Err(Error::value(format!("no kernel target {name:?} on this machine; there are {names}")).into());
    };
    let before = Target::chosen().name();
    target.choose();
    Ok(before)
}

/// (peak, rms, loudness_lufs, true_peak_dbtp)
type MeasureResult = (f32, f32, Option<f64>, Option<f64>);

#[pyfunction]
pub fn measure(py: Python<'_>, wav: PyReadonlyArray2<'_, f32>, sample_rate_hz: u32) -> PyResult<MeasureResult> {
    let (samples, [num_channels, _]) = planar(&wav)?;
    if !(1..=MAX_SAMPLE_RATE_HZ).contains(&sample_rate_hz) {
        let message = format!("sample_rate_hz is {sample_rate_hz}; it must be in 1..={MAX_SAMPLE_RATE_HZ}");
        return Err(Error::value(message).into());
    }
    let found = detached(py, |interrupt| measures::measure(samples, num_channels, sample_rate_hz, interrupt))?;
    Ok((found.peak, found.rms, found.loudness_lufs, found.true_peak_dbtp))
}

#[pyfunction]
pub fn sound_bounds(py: Python<'_>, wav: PyReadonlyArray2<'_, f32>, threshold_dbfs: f64) -> PyResult<(usize, usize)> {
    let (samples, [num_channels, _]) = planar(&wav)?;
    detached(py, |_| Ok(measures::sound_bounds(samples, num_channels, threshold_dbfs)))
}

fn into_wav(py: Python<'_>, audio: Audio) -> (Wav<'_>, u32) {
    (array2(py, [audio.num_channels, audio.num_samples()], audio.samples), audio.sample_rate_hz)
}

/// The row-major samples of a [channels, samples] array.
fn planar<'a>(wav: &'a PyReadonlyArray2<'_, f32>) -> Result<(&'a [f32], [usize; 2])> {
    let [num_channels, num_samples] = [wav.shape()[0], wav.shape()[1]];
    if num_channels == 0 {
        return Err(Error::value(format!("wav has shape (0, {num_samples}); expected [channels, samples]")));
    }
    let samples = wav.as_slice().map_err(|_| Error::value("wav must be C-contiguous"))?;
    Ok((samples, [num_channels, num_samples]))
}

fn not_negative(name: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| Error::value(format!("{name} is {value}; it must not be negative")))
}
