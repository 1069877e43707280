//! Tokens, sampling and digests: numpy in, numpy out. Documented in musicgen_core/native/.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{array2, detached};
use crate::error::{Error, Result};
use crate::{hash, sampler, shard_index, shard_read};

#[pyfunction]
pub fn hash_bytes(py: Python<'_>, data: &Bound<'_, PyBytes>) -> PyResult<String> {
    let data = data.as_bytes();
    Ok(hash::hex(&detached(py, |interrupt| hash::of_many_bytes(data, interrupt))?))
}

#[pyfunction]
pub fn hash_file(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    Ok(hash::hex(&detached(py, |interrupt| hash::of_file(&path, interrupt))?))
}

#[pyfunction]
pub fn hash_files(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    num_threads: usize,
) -> PyResult<Vec<(Option<String>, Option<String>)>> {
    let digests = detached(py, |interrupt| hash::of_files(&paths, num_threads, interrupt))?;
    let split = |digest: Result<hash::Digest>| match digest {
        Ok(digest) => (Some(hash::hex(&digest)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(digests.into_iter().map(split).collect())
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
    Ok(detached(py, |_| Ok(sampler::uniform(seed, stream, epoch, indexes, draw)))?.into_pyarray(py))
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
        Ok(Self { inner: Arc::new(detached(py, |_| shard_read::TokenShards::open(&index_path))?) })
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
        let (codes, valid) = detached(py, |_| {
            let there = self.inner.frames_from(track, start)?;
            let valid = num_frames.map_or(there, |n| n.min(there));
            let mut codes = vec![0; num_codebooks * valid];
            self.inner.read_into(track, start, valid, &mut codes)?;
            Ok((codes, valid))
        })?;
        Ok(array2(py, [num_codebooks, valid], codes))
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, |interrupt| self.inner.verify(interrupt))
    }
}
