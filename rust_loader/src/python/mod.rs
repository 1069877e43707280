//! The binding: arguments parsed once, the GIL released around everything that takes time, one mapping of errors.

mod audio;
mod batches;
mod folders;
mod pattern;
mod tokens;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use numpy::ndarray::{Array2, Array3};
use numpy::{Element, IntoPyArray, PyArray2, PyArray3, PyArrayMethods};
use pyo3::exceptions::{PyKeyError, PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::{create_exception, wrap_pyfunction};

use crate::error::{Error, Result};
use crate::first_use;
use crate::guard::{self, guard_call};

create_exception!(musicgen_core.native, AudioError, PyValueError, "A file or byte string is not usable audio.");
create_exception!(musicgen_core.native, CorruptAudioError, AudioError, "Audio that is truncated or damaged.");
create_exception!(musicgen_core.native, UnsupportedAudioError, AudioError, "Not audio, or in a format not read here.");
create_exception!(musicgen_core.native, LimitError, AudioError, "Audio beyond a limit on channels, rate or length.");
create_exception!(musicgen_core.native, ShardError, PyValueError, "A token shard or its index is damaged.");

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            // OSError picks its own subclass by errno: FileNotFoundError, PermissionError, IsADirectoryError, ...
            Error::Io { name, source } => match source.raw_os_error() {
                Some(errno) => PyOSError::new_err((errno, os_message(&source), name)),
                None => PyOSError::new_err(message),
            },
            Error::Corrupt { .. } => CorruptAudioError::new_err(message),
            Error::Unsupported { .. } => UnsupportedAudioError::new_err(message),
            Error::Limit { .. } => LimitError::new_err(message),
            Error::Shard { .. } => ShardError::new_err(message),
            Error::Value(_) => PyValueError::new_err(message),
            Error::Key { .. } => PyKeyError::new_err(message),
            Error::Memory { .. } => PyMemoryError::new_err(message),
            Error::Internal(_) => PyRuntimeError::new_err(message),
            Error::Interrupted => pyo3::exceptions::PyKeyboardInterrupt::new_err(()),
        }
    }
}

/// "No such file or directory" without the "(os error 2)" that Rust appends.
fn os_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Runs `work` without the GIL. `work` calls its argument now and then; five times a second that lets Python handle
/// signals, and an exception from there (Ctrl-C) ends the call. A panic is raised as RuntimeError.
fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&(dyn Fn() -> Result<()> + Sync)) -> Result<T> + Send,
) -> PyResult<T> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let checked = Mutex::new(Instant::now());
    let interrupt = || {
        let mut checked = checked.lock().expect("no panic holds it");
        if checked.elapsed() < Duration::from_millis(200) {
            return Ok(());
        }
        *checked = Instant::now();
        Python::attach(|py| py.check_signals()).map_err(|error| {
            *raised.lock().expect("no panic holds it") = Some(error);
            Error::Interrupted
        })
    };
    let result = py.detach(|| guard_call(|| work(&interrupt)));
    match raised.into_inner().expect("no panic holds it") {
        Some(error) => Err(error),
        None => result.map_err(PyErr::from),
    }
}

/// Row-major data as an array, without a copy.
fn array2<T: Element>(py: Python<'_>, shape: [usize; 2], data: Vec<T>) -> Bound<'_, PyArray2<T>> {
    Array2::from_shape_vec(shape, data).expect("data fills its shape").into_pyarray(py)
}

fn array3<T: Element>(py: Python<'_>, shape: [usize; 3], data: Vec<T>) -> Bound<'_, PyArray3<T>> {
    Array3::from_shape_vec(shape, data).expect("data fills its shape").into_pyarray(py)
}

/// What would otherwise be built at first use. A fork, or a signal handler that raises, could come in the midst of that;
/// rust-numpy panics when numpy's import is broken off.
fn prepare(py: Python<'_>) -> PyResult<()> {
    first_use::prepare();
    py.import("numpy")?;
    PyArray2::<f32>::zeros(py, [0, 0], false).try_readonly().map(drop).map_err(PyErr::from)
}

/// Panics, so that a test can see what becomes of it.
#[pyfunction]
fn panic_for_tests(py: Python<'_>) -> PyResult<()> {
    detached(py, |_| panic!("on purpose"))
}

#[pymodule(gil_used = true)]
fn _rust_loader(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    guard::install();
    prepare(py)?;
    m.add("AudioError", py.get_type::<AudioError>())?;
    m.add("CorruptAudioError", py.get_type::<CorruptAudioError>())?;
    m.add("UnsupportedAudioError", py.get_type::<UnsupportedAudioError>())?;
    m.add("LimitError", py.get_type::<LimitError>())?;
    m.add("ShardError", py.get_type::<ShardError>())?;
    m.add_function(wrap_pyfunction!(audio::probe, m)?)?;
    m.add_function(wrap_pyfunction!(audio::decode_file, m)?)?;
    m.add_function(wrap_pyfunction!(audio::decode_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(audio::decode_segment, m)?)?;
    m.add_function(wrap_pyfunction!(audio::mix_to_mono, m)?)?;
    m.add_function(wrap_pyfunction!(audio::resample, m)?)?;
    m.add_function(wrap_pyfunction!(audio::read_audio_segment, m)?)?;
    m.add_function(wrap_pyfunction!(audio::kernel_targets, m)?)?;
    m.add_function(wrap_pyfunction!(audio::use_kernel_target, m)?)?;
    m.add_function(wrap_pyfunction!(audio::measure, m)?)?;
    m.add_function(wrap_pyfunction!(audio::sound_bounds, m)?)?;
    m.add_function(wrap_pyfunction!(tokens::hash_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(tokens::hash_file, m)?)?;
    m.add_function(wrap_pyfunction!(tokens::hash_files, m)?)?;
    m.add_function(wrap_pyfunction!(pattern::interleave, m)?)?;
    m.add_function(wrap_pyfunction!(pattern::deinterleave, m)?)?;
    m.add_function(wrap_pyfunction!(tokens::philox_raw, m)?)?;
    m.add_function(wrap_pyfunction!(tokens::uniform, m)?)?;
    m.add_function(wrap_pyfunction!(tokens::write_token_index, m)?)?;
    m.add_function(wrap_pyfunction!(panic_for_tests, m)?)?;
    m.add_function(wrap_pyfunction!(batches::write_track_list, m)?)?;
    m.add_class::<folders::FolderList>()?;
    m.add_class::<tokens::TokenShards>()?;
    m.add_class::<batches::TrackList>()?;
    m.add_class::<batches::TokenSampler>()
}
