//! Tokens, sampling and digests: numpy in, numpy out. Documented in musicgen_core/native/.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{
    Element, IntoPyArray, PyArray1, PyArray2, PyArray3, PyReadonlyArray1, PyReadonlyArray3, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{array2, array3, detached};
use crate::error::{Error, Result};
use crate::kernels::Token;
use crate::{hash, pattern, sampler, shard_index, shard_read};

#[pyfunction]
pub fn hash_bytes(py: Python<'_>, data: &Bound<'_, PyBytes>) -> String {
    let data = data.as_bytes();
    hash::hex(&py.detach(|| hash::of_bytes(data)))
}

#[pyfunction]
pub fn hash_file(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    Ok(hash::hex(&py.detach(|| hash::of_file(&path))?))
}

#[pyfunction]
pub fn hash_files(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    num_threads: usize,
) -> PyResult<Vec<(Option<String>, Option<String>)>> {
    let digests = detached(py, |interrupt| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(num_threads)
            .build()
            .map_err(|e| Error::value(format!("cannot start {num_threads} threads: {e}")))?;
        let mut digests = Vec::with_capacity(paths.len());
        for some in paths.chunks(64) {
            interrupt()?;
            digests.extend(hash::of_files(some, &pool));
        }
        Ok(digests)
    })?;
    let split = |digest: Result<hash::Digest>| match digest {
        Ok(digest) => (Some(hash::hex(&digest)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(digests.into_iter().map(split).collect())
}

type Codes<'py, T> = Bound<'py, PyArray3<T>>;
type Mask<'py> = Bound<'py, PyArray2<bool>>;

/// codes [B, K, T] of any of the three types that tokens come in
#[derive(FromPyObject)]
pub enum AnyCodes<'py> {
    U16(PyReadonlyArray3<'py, u16>),
    I16(PyReadonlyArray3<'py, i16>),
    I64(PyReadonlyArray3<'py, i64>),
}

#[pyfunction]
pub fn interleave<'py>(
    py: Python<'py>,
    codes: AnyCodes<'py>,
    delays: Vec<i64>,
    special: i64,
    keep_only_valid: bool,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    match codes {
        AnyCodes::U16(codes) => interleave_as(py, &codes, &delays, special, keep_only_valid),
        AnyCodes::I16(codes) => interleave_as(py, &codes, &delays, special, keep_only_valid),
        AnyCodes::I64(codes) => interleave_as(py, &codes, &delays, special, keep_only_valid),
    }
}

fn interleave_as<'py, T: Token + Element>(
    py: Python<'py>,
    codes: &PyReadonlyArray3<'py, T>,
    delays: &[i64],
    special: i64,
    keep_only_valid: bool,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    let (codes, [batch, num_codebooks, num_frames]) = rows(codes)?;
    let delays = pattern::check_delays(delays, num_codebooks)?;
    let (sequence, mask) =
        py.detach(|| pattern::interleave(codes, batch * num_codebooks, &delays, num_frames, special, keep_only_valid))?;
    let num_steps = pattern::num_steps(num_frames, &delays, keep_only_valid);
    let sequence: Codes<'py, T> = array3(py, [batch, num_codebooks, num_steps], sequence);
    Ok((sequence.into_any(), array2(py, [num_codebooks, num_steps], mask)))
}

#[pyfunction]
pub fn deinterleave<'py>(
    py: Python<'py>,
    sequence: AnyCodes<'py>,
    delays: Vec<i64>,
    num_frames: usize,
    special: i64,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    match sequence {
        AnyCodes::U16(sequence) => deinterleave_as(py, &sequence, &delays, num_frames, special),
        AnyCodes::I16(sequence) => deinterleave_as(py, &sequence, &delays, num_frames, special),
        AnyCodes::I64(sequence) => deinterleave_as(py, &sequence, &delays, num_frames, special),
    }
}

fn deinterleave_as<'py, T: Token + Element>(
    py: Python<'py>,
    sequence: &PyReadonlyArray3<'py, T>,
    delays: &[i64],
    num_frames: usize,
    special: i64,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    let (sequence, [batch, num_codebooks, num_steps]) = rows(sequence)?;
    let delays = pattern::check_delays(delays, num_codebooks)?;
    if num_frames > num_steps.max(1 << 24) {
        return Err(Error::value(format!("{num_frames} frames asked of {num_steps} steps")).into());
    }
    let (codes, mask) =
        py.detach(|| pattern::deinterleave(sequence, batch * num_codebooks, &delays, num_steps, num_frames, special))?;
    let codes: Codes<'py, T> = array3(py, [batch, num_codebooks, num_frames], codes);
    Ok((codes.into_any(), array2(py, [num_codebooks, num_frames], mask)))
}

fn rows<'a, T: Element>(codes: &'a PyReadonlyArray3<'_, T>) -> Result<(&'a [T], [usize; 3])> {
    let shape = [codes.shape()[0], codes.shape()[1], codes.shape()[2]];
    let codes = codes.as_slice().map_err(|_| Error::value("codes must be C-contiguous"))?;
    Ok((codes, shape))
}

#[pyfunction]
pub fn philox_raw(py: Python<'_>, key: [u64; 2], counter: [u64; 4]) -> Bound<'_, PyArray1<u64>> {
    PyArray1::from_slice(py, &sampler::philox(key, counter))
}

#[pyfunction]
pub fn uniform<'py>(
    py: Python<'py>,
    seed: u64,
    stream: u64,
    epoch: u64,
    indexes: PyReadonlyArray1<'py, i64>,
    draw: u64,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let indexes = indexes.as_slice().map_err(|_| Error::value("indexes must be contiguous"))?;
    Ok(py.detach(|| sampler::uniform(seed, stream, epoch, indexes, draw)).into_pyarray(py))
}

#[pyfunction]
pub fn write_token_index(
    py: Python<'_>,
    out: PathBuf,
    shards: Vec<PathBuf>,
    codec_digest: String,
    card: u32,
) -> PyResult<()> {
    detached(py, |interrupt| shard_index::write(&out, &shards, &codec_digest, card, interrupt))
}

#[pyclass(module = "musicgen_core._rust_loader", frozen)]
pub struct TokenShards {
    pub(super) inner: Arc<shard_read::TokenShards>,
}

#[pymethods]
impl TokenShards {
    #[new]
    fn new(py: Python<'_>, index_path: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: Arc::new(py.detach(|| shard_read::TokenShards::open(&index_path))?) })
    }

    #[getter]
    fn num_tracks(&self) -> usize {
        self.inner.num_tracks()
    }

    #[getter]
    fn num_codebooks(&self) -> u32 {
        self.inner.header().num_codebooks
    }

    #[getter]
    fn card(&self) -> u32 {
        self.inner.header().card
    }

    #[getter]
    fn codec_digest(&self) -> String {
        hash::hex(&self.inner.header().codec_digest)
    }

    #[getter]
    fn keys(&self) -> Vec<String> {
        (0..self.inner.num_tracks()).map(|track| hash::hex(&self.inner.record(track).key)).collect()
    }

    #[getter]
    fn num_frames<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let frames: Vec<i64> =
            (0..self.inner.num_tracks()).map(|track| i64::from(self.inner.record(track).num_frames)).collect();
        frames.into_pyarray(py)
    }

    fn find(&self, key: &str) -> PyResult<usize> {
        Ok(self.inner.find(key)?)
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        track: i64,
        start: i64,
        num_frames: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray2<u16>>> {
        let num_codebooks = self.inner.header().num_codebooks as usize;
        let (codes, valid) = py.detach(|| {
            let there = self.inner.frames_from(track, start)?;
            let valid = num_frames.map_or(there, |n| n.min(there));
            let mut codes = vec![0; num_codebooks * valid];
            self.inner.read_into(track, start, valid, &mut codes)?;
            Ok::<_, Error>((codes, valid))
        })?;
        Ok(array2(py, [num_codebooks, valid], codes))
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, |interrupt| self.inner.verify(interrupt))
    }
}
