//! Track lists and batches of codes: numpy in, numpy out. Documented in musicgen_core/native/batches.py.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{
    Element, IntoPyArray, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::detached;
use super::tokens::TokenShards;
use crate::batch::{self, Code, Layout, Segments};
use crate::draw::{Options, Sampler};
use crate::error::{Error, Result};
use crate::hash;
use crate::track_list::{self, Chance, Columns};

#[pyfunction]
pub fn write_track_list(
    py: Python<'_>,
    manifest: PathBuf,
    keys: &Bound<'_, PyBytes>,
    num_samples: PyReadonlyArray1<'_, i64>,
    weights: PyReadonlyArray1<'_, f64>,
) -> PyResult<()> {
    let (keys, rest) = keys.as_bytes().as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Error::value("keys must be 16 bytes each").into());
    }
    let (num_samples, weights) = (slice(&num_samples)?, slice(&weights)?);
    detached(py, |_| track_list::write(&manifest, &Columns { keys, num_samples, weights }))
}

#[pyclass(module = "musicgen_core._rust_loader", frozen)]
pub struct TrackList {
    inner: Arc<track_list::TrackList>,
}

#[pymethods]
impl TrackList {
    #[new]
    fn new(py: Python<'_>, manifest: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: Arc::new(detached(py, |_| track_list::TrackList::open(&manifest))?) })
    }

    #[getter]
    fn num_tracks(&self) -> usize {
        self.inner.num_tracks()
    }

    #[getter]
    fn total_samples(&self) -> u64 {
        self.inner.total_samples()
    }

    #[getter]
    fn longest_samples(&self) -> u64 {
        self.inner.longest_samples()
    }

    #[getter]
    fn manifest_digest(&self) -> String {
        hash::hex(&self.inner.manifest_digest())
    }

    fn key(&self, track: i64) -> PyResult<String> {
        Ok(hash::hex(&self.inner.key(self.checked(track)?)))
    }

    fn line<'py>(&self, py: Python<'py>, track: i64) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.inner.line(self.checked(track)?)?))
    }
}

impl TrackList {
    fn checked(&self, track: i64) -> Result<usize> {
        usize::try_from(track)
            .ok()
            .filter(|track| *track < self.inner.num_tracks())
            .ok_or_else(|| Error::value(format!("track {track} of {}", self.inner.num_tracks())))
    }
}

#[pyclass(module = "musicgen_core._rust_loader", frozen)]
pub struct TokenSampler {
    inner: batch::TokenSampler,
    layout: Layout,
    special: i64,
}

#[pymethods]
impl TokenSampler {
    #[new]
    #[allow(clippy::too_many_arguments)] // the flat face of two structs that are built below
    fn new(
        lists: Vec<PyRef<'_, TrackList>>,
        shards: Vec<PyRef<'_, TokenShards>>,
        seed: u64,
        stream: u64,
        sample_by: &str,
        replacement: bool,
        shares: Option<Vec<f64>>,
        epoch_samples: Option<u64>,
        segment_frames: usize,
        min_segment_ratio: f64,
        frames: Option<PyReadonlyArray2<'_, i64>>,
        num_codebooks: usize,
        special: i64,
    ) -> PyResult<Self> {
        let chance = match sample_by {
            "track" => Chance::Equal,
            "weight" => Chance::Weight,
            "duration" => Chance::Duration,
            other => {
                return Err(
                    Error::value(format!("sample_by is {other:?}; it must be track, weight or duration")).into()
                );
            }
        };
        let options = Options { seed, stream, chance, replacement, shares, epoch_samples };
        let lists = lists.iter().map(|list| list.inner.clone()).collect();
        let shards = shards.iter().map(|shards| shards.inner.clone()).collect();
        let sampler = Sampler::new(lists, options)?;
        let layout = match frames {
            None => Layout::plain(num_codebooks, segment_frames)?,
            Some(frames) if frames.shape()[0] == num_codebooks => {
                let frames = frames.as_slice().map_err(|_| Error::value("the pattern must be C-contiguous"))?;
                Layout::from_table(frames, num_codebooks, segment_frames)?
            }
            Some(frames) => {
                let message = format!("a pattern of {} codebooks for codes of {num_codebooks}", frames.shape()[0]);
                return Err(Error::value(message).into());
            }
        };
        let inner = batch::TokenSampler::new(sampler, shards, segment_frames, min_segment_ratio)?;
        Ok(Self { inner, layout, special })
    }

    #[getter]
    fn num_steps(&self) -> usize {
        self.layout.num_steps
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, |interrupt| self.inner.check(interrupt))
    }

    fn draw<'py>(&self, py: Python<'py>, first_sample: u64, count: usize) -> PyResult<Bound<'py, PyTuple>> {
        let segments = detached(py, |interrupt| self.inner.draw(first_sample, count, interrupt))?;
        as_tuple(py, segments)
    }

    #[allow(clippy::too_many_arguments)] // numpy's columns and buffers
    fn cut(
        &self,
        py: Python<'_>,
        lists: PyReadonlyArray1<'_, i64>,
        rows: PyReadonlyArray1<'_, i64>,
        starts: PyReadonlyArray1<'_, i64>,
        out: &Bound<'_, PyAny>,
        mask: Option<&Bound<'_, PyAny>>,
        num_threads: usize,
    ) -> PyResult<()> {
        let columns = [slice(&lists)?, slice(&rows)?, slice(&starts)?];
        if columns.iter().any(|column| column.len() != columns[0].len()) {
            let [lists, rows, starts] = columns.map(<[i64]>::len);
            return Err(Error::value(format!("{lists} lists, {rows} rows and {starts} starts")).into());
        }
        self.cut_into_any(py, columns, out, mask, num_threads)
    }

    /// `draw` and `cut` of a share of it.
    #[allow(clippy::too_many_arguments)] // numpy's buffers and a range
    fn batch<'py>(
        &self,
        py: Python<'py>,
        first_sample: u64,
        batch_size: usize,
        share: (usize, usize),
        out: &Bound<'py, PyAny>,
        mask: Option<&Bound<'py, PyAny>>,
        num_threads: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (begin, end) = share;
        if begin > end || end > batch_size {
            return Err(Error::value(format!("share {begin}..{end} of a batch of {batch_size}")).into());
        }
        let drawn = detached(py, |interrupt| self.inner.draw(first_sample, batch_size, interrupt))?;
        let columns = [&drawn.lists[begin..end], &drawn.rows[begin..end], &drawn.starts[begin..end]];
        self.cut_into_any(py, columns, out, mask, num_threads)?;
        as_tuple(py, drawn)
    }
}

impl TokenSampler {
    fn cut_into_any(
        &self,
        py: Python<'_>,
        columns: [&[i64]; 3],
        out: &Bound<'_, PyAny>,
        mask: Option<&Bound<'_, PyAny>>,
        num_threads: usize,
    ) -> PyResult<()> {
        let shape = [columns[0].len(), self.layout.num_codebooks(), self.layout.num_steps];
        let mut mask = mask.map(|mask| writable::<bool>("mask", mask, shape)).transpose()?;
        let mask = match &mut mask {
            None => &mut [],
            Some(mask) => {
                let mask = mask.as_slice_mut().map_err(|_| not_contiguous("mask"))?;
                // SAFETY: same memory, same length, one byte each. Bytes, since a fresh numpy array may hold any, and
                // a Rust bool may not.
                unsafe { std::slice::from_raw_parts_mut(mask.as_mut_ptr().cast::<u8>(), mask.len()) }
            }
        };
        if out.cast::<PyArray3<u16>>().is_ok() {
            self.cut_into::<u16>(py, columns, out, shape, mask, num_threads)
        } else if out.cast::<PyArray3<i16>>().is_ok() {
            self.cut_into::<i16>(py, columns, out, shape, mask, num_threads)
        } else if out.cast::<PyArray3<i32>>().is_ok() {
            self.cut_into::<i32>(py, columns, out, shape, mask, num_threads)
        } else {
            self.cut_into::<i64>(py, columns, out, shape, mask, num_threads)
        }
    }

    fn cut_into<T: Code + Element>(
        &self,
        py: Python<'_>,
        columns: [&[i64]; 3],
        out: &Bound<'_, PyAny>,
        shape: [usize; 3],
        mask: &mut [u8],
        num_threads: usize,
    ) -> PyResult<()> {
        let mut out = writable::<T>("out", out, shape)?;
        let out = out.as_slice_mut().map_err(|_| not_contiguous("out"))?;
        detached(py, |interrupt| {
            let (shards, layout) = (self.inner.shards(), &self.layout);
            batch::cut(shards, columns, layout, self.special, out, mask, num_threads, interrupt)
        })
    }
}

/// A caller's buffer, if it has the type and shape that it must have and may be written.
fn writable<'py, T: Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
    shape: [usize; 3],
) -> PyResult<PyReadwriteArray3<'py, T>> {
    let Ok(array) = array.cast::<PyArray3<T>>() else {
        let wanted = if name == "mask" { "bool" } else { "uint16, int16, int32 or int64" };
        let found = match array.getattr("dtype") {
            Ok(dtype) => format!("{dtype} with {} axes", array.getattr("ndim")?),
            Err(_) => array.get_type().to_string(),
        };
        return Err(Error::value(format!("{name} must be a numpy array of {wanted} with 3 axes, got {found}")).into());
    };
    if array.shape() != shape {
        return Err(Error::value(format!("{name} has shape {:?}, the batch {shape:?}", array.shape())).into());
    }
    let refused = |_| Error::value(format!("{name} is read-only, or in use by another call"));
    Ok(array.try_readwrite().map_err(refused)?)
}

fn not_contiguous(name: &str) -> Error {
    Error::value(format!("{name} must be C-contiguous"))
}

fn slice<'a, T: Element>(array: &'a PyReadonlyArray1<'_, T>) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| Error::value("columns must be contiguous"))
}

fn as_tuple(py: Python<'_>, segments: Segments) -> PyResult<Bound<'_, PyTuple>> {
    let Segments { epochs, indexes, lists, tracks, rows, starts, num_valid } = segments;
    let arrays = [epochs, indexes, lists, tracks, rows, starts, num_valid].map(|column| column.into_pyarray(py));
    PyTuple::new(py, arrays)
}
