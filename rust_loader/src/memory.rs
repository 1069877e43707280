//! Large buffers whose size comes from a file or a caller: an error instead of the abort that `vec!` ends in when the
//! system has no such memory.

use std::alloc::{Layout, alloc_zeroed};

use bytemuck::Zeroable;

use crate::error::{Error, Result};

/// `len` zeros; `what` names the file or the work in the error. Pages are touched only when they are written.
pub fn zeros<T: Zeroable>(what: &str, len: usize) -> Result<Vec<T>> {
    let refused = || Error::Memory { what: what.to_owned(), bytes: len as u128 * size_of::<T>() as u128 };
    let layout = Layout::array::<T>(len).map_err(|_| refused())?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not empty.
    let pointer = unsafe { alloc_zeroed(layout) };
    if pointer.is_null() {
        return Err(refused());
    }
    // SAFETY: the global allocator gave `pointer` for exactly this layout, and zeros are `len` values of a Zeroable T.
    Ok(unsafe { Vec::from_raw_parts(pointer.cast(), len, len) })
}

/// Empty, with room for `len`.
pub fn room<T>(what: &str, len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let bytes = len as u128 * size_of::<T>() as u128;
    values.try_reserve_exact(len).map_err(|_| Error::Memory { what: what.to_owned(), bytes })?;
    Ok(values)
}

/// `len` times `value`.
pub fn filled<T: Copy>(what: &str, len: usize, value: T) -> Result<Vec<T>> {
    let mut values = room(what, len)?;
    values.resize(len, value);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_an_error() {
        assert_eq!(zeros::<f32>("x.wav", 3).unwrap(), [0.0; 3]);
        assert!(zeros::<u16>("x.wav", 0).unwrap().is_empty());
        assert_eq!(filled("batch", 2, 7u16).unwrap(), [7, 7]);
        for error in [zeros::<f32>("x.wav", usize::MAX).unwrap_err(), zeros::<f32>("x.wav", 1 << 60).unwrap_err()] {
            assert!(matches!(error, Error::Memory { .. }));
            assert!(error.to_string().starts_with("x.wav: "), "{error}");
        }
        assert!(matches!(filled("batch", usize::MAX, 0u16), Err(Error::Memory { .. })));
    }
}
