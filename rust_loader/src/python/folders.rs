//! Lists of folders. Documented in musicgen_core/native/folders.py.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use pyo3::prelude::*;

use super::detached;
use crate::{folder_list, hash};

/// (path, size, mtime_ns, ctime_ns)
type Found = (OsString, i64, i64, i64);

#[pyclass(module = "musicgen_core._rust_loader", frozen)]
pub struct FolderList {
    inner: folder_list::FolderList,
}

#[pymethods]
impl FolderList {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf, skip: Option<PathBuf>) -> PyResult<Self> {
        let walk = |interrupt: crate::decode::Interrupt<'_>| {
            folder_list::FolderList::walk(&folder, skip.as_deref(), interrupt)
        };
        Ok(Self { inner: detached(py, |interrupt| walk(interrupt))? })
    }

    #[getter]
    fn num_files(&self) -> usize {
        self.inner.files().len()
    }

    fn files(&self) -> Vec<Found> {
        self.inner.files().iter().map(convert).collect()
    }

    fn starting(&self, prefix: OsString) -> Vec<Found> {
        self.inner.starting(prefix.as_bytes()).iter().map(convert).collect()
    }

    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        Ok(hash::hex(&detached(py, |_| Ok(self.inner.digest()))?))
    }

    fn write(&self, py: Python<'_>, out: PathBuf) -> PyResult<()> {
        detached(py, |_| self.inner.write(&out))
    }

    fn changes_since(&self, py: Python<'_>, former: PathBuf) -> PyResult<Vec<(Option<Found>, Option<Found>)>> {
        let changes = detached(py, |_| self.inner.changes_since(&former))?;
        Ok(changes.iter().map(|(before, now)| (before.as_ref().map(convert), now.as_ref().map(convert))).collect())
    }
}

fn convert(file: &folder_list::FoundFile) -> Found {
    (OsString::from_vec(file.path.to_vec()), file.size, file.mtime_ns, file.ctime_ns)
}
