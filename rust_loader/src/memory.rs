//! Large buffers whose size comes from a file or a caller: an error instead of the abort that `vec!` ends in when the
//! system has no such memory. And one large buffer per thread that is used again.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::Cell;

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

/// `len` times `value`.
pub fn filled<T: Copy>(what: &str, len: usize, value: T) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let bytes = len as u128 * size_of::<T>() as u128;
    values.try_reserve_exact(len).map_err(|_| Error::Memory { what: what.to_owned(), bytes })?;
    values.resize(len, value);
    Ok(values)
}

/// Most bytes that a thread keeps between two calls: half a minute of 44.1 kHz stereo is 10 MiB.
const MAX_RESTING_BYTES: usize = 32 << 20;

thread_local! {
    static RESTING: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Keeps a buffer for this thread's next `used`: new memory of some megabytes costs about what decoding WAV to it does.
pub fn rest(values: Vec<f32>) {
    if values.capacity() * size_of::<f32>() <= MAX_RESTING_BYTES {
        // A thread that ends has no place any more.
        let _ = RESTING.try_with(|resting| resting.set(values));
    }
}

/// `len` values for a caller who overwrites all that is read: what rested here, or zeros.
pub fn used(what: &str, len: usize) -> Result<Vec<f32>> {
    let mut values = RESTING.try_with(Cell::take).unwrap_or_default();
    let fits = values.len() >= len && values.capacity() / 5 * 4 <= len;
    if !fits {
        drop(values);
        return zeros(what, len);
    }
    values.truncate(len);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_rests_in_its_thread_and_fits_or_is_dropped() {
        let values = vec![1.0; 1000];
        let place = values.as_ptr();
        rest(values);
        std::thread::spawn(|| assert_eq!(used("x.wav", 1000).unwrap(), [0.0; 1000])).join().unwrap();
        let again = used("x.wav", 900).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 900));
        assert_eq!(used("x.wav", 900).unwrap()[0], 0.0); // nothing rests now
        rest(again);
        assert_eq!(used("x.wav", 2000).unwrap(), [0.0; 2000]);
        rest(vec![1.0; 1000]);
        assert_eq!(used("x.wav", 10).unwrap(), [0.0; 10]); // not 4 kB for 40 bytes
        rest(vec![1.0; MAX_RESTING_BYTES / 4 + 1]);
        assert_eq!(used("x.wav", MAX_RESTING_BYTES / 4 + 1).unwrap()[0], 0.0);
    }

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
