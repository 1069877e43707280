//! Codebook patterns: numpy in, numpy out. Documented in musicgen_core/native/pattern.py.

use numpy::{Element, PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::{array2, array3, detached};
use crate::error::{Error, Result};
use crate::kernels::Token;
use crate::pattern::Layout;

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
    steps: PyReadonlyArray2<'py, i64>,
    num_steps: usize,
    special: i64,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    match codes {
        AnyCodes::U16(codes) => interleave_as(py, &codes, &steps, num_steps, special),
        AnyCodes::I16(codes) => interleave_as(py, &codes, &steps, num_steps, special),
        AnyCodes::I64(codes) => interleave_as(py, &codes, &steps, num_steps, special),
    }
}

fn interleave_as<'py, T: Token + Element>(
    py: Python<'py>,
    codes: &PyReadonlyArray3<'py, T>,
    steps: &PyReadonlyArray2<'py, i64>,
    num_steps: usize,
    special: i64,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    let (codes, [batch, num_codebooks, num_frames]) = rows(codes)?;
    let (steps, table) = table(steps)?;
    if [num_codebooks, num_frames] != table {
        let message = format!(
            "codes_BKT has {num_codebooks} codebooks of {num_frames} frames, step_KT {} of {}",
            table[0], table[1]
        );
        return Err(Error::value(message).into());
    }
    let (sequence, mask) = detached(py, |_| {
        let layout = Layout::new(steps, num_codebooks, num_frames)?;
        layout.interleave(codes, batch, num_steps, special)
    })?;
    let sequence: Codes<'py, T> = array3(py, [batch, num_codebooks, num_steps], sequence);
    Ok((sequence.into_any(), array2(py, [num_codebooks, num_steps], mask)))
}

#[pyfunction]
pub fn deinterleave<'py>(
    py: Python<'py>,
    sequence: AnyCodes<'py>,
    steps: PyReadonlyArray2<'py, i64>,
    special: i64,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    match sequence {
        AnyCodes::U16(sequence) => deinterleave_as(py, &sequence, &steps, special),
        AnyCodes::I16(sequence) => deinterleave_as(py, &sequence, &steps, special),
        AnyCodes::I64(sequence) => deinterleave_as(py, &sequence, &steps, special),
    }
}

fn deinterleave_as<'py, T: Token + Element>(
    py: Python<'py>,
    sequence: &PyReadonlyArray3<'py, T>,
    steps: &PyReadonlyArray2<'py, i64>,
    special: i64,
) -> PyResult<(Bound<'py, PyAny>, Mask<'py>)> {
    let (sequence, [batch, num_codebooks, num_steps]) = rows(sequence)?;
    let (steps, table) = table(steps)?;
    if num_codebooks != table[0] {
        let message = format!("sequence_BKS has {num_codebooks} codebooks, step_KT {}", table[0]);
        return Err(Error::value(message).into());
    }
    let num_frames = table[1];
    let (codes, mask) = detached(py, |_| {
        let layout = Layout::new(steps, num_codebooks, num_frames)?;
        layout.deinterleave(sequence, batch, num_steps, special)
    })?;
    let codes: Codes<'py, T> = array3(py, [batch, num_codebooks, num_frames], codes);
    Ok((codes.into_any(), array2(py, [num_codebooks, num_frames], mask)))
}

fn rows<'a, T: Element>(codes: &'a PyReadonlyArray3<'_, T>) -> Result<(&'a [T], [usize; 3])> {
    let shape = [codes.shape()[0], codes.shape()[1], codes.shape()[2]];
    let codes = codes.as_slice().map_err(|_| Error::value("codes must be C-contiguous"))?;
    Ok((codes, shape))
}

fn table<'a>(steps: &'a PyReadonlyArray2<'_, i64>) -> Result<(&'a [i64], [usize; 2])> {
    let shape = [steps.shape()[0], steps.shape()[1]];
    let steps = steps.as_slice().map_err(|_| Error::value("step_KT must be C-contiguous"))?;
    Ok((steps, shape))
}
