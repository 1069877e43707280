//! Panics become errors: a decoder's, on hostile bytes, about the file; our own, which are bugs, about the place in the
//! source. Nothing unwinds into Python, whose PanicException `except Exception` would miss.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};

use crate::error::{Error, Result};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static REACHED_SEC: Cell<f64> = const { Cell::new(0.0) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`, turning a decoder's panic on hostile bytes into an error about `name`.
pub fn guard<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    REACHED_SEC.set(0.0);
    caught(work).unwrap_or_else(|message| {
        let message = format!("the decoder gave up after {:.3} s: {message}", REACHED_SEC.get());
        Err(Error::corrupt(name, message))
    })
}

/// Says how far into its file the decoder on this thread is.
pub fn reached(sec: f64) {
    REACHED_SEC.set(sec);
}

/// Runs `work`, turning a panic, which is a bug, into an error.
pub fn guard_call<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(work).unwrap_or_else(|message| Err(Error::Internal(message)))
}

/// Keeps panics that are caught here off stderr, and remembers where they were. Called once, when Python loads the
/// extension; everything else prints as before.
pub fn install() {
    let printing = take_hook();
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if CATCHING.get() {
            let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
            PLACE.with(|kept| *kept.borrow_mut() = place.unwrap_or_default());
        } else {
            printing(info);
        }
    }));
}

fn caught<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let message = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
        let place = PLACE.take();
        format!("{message}{place}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors_and_results_pass() {
        let of_decoder = guard("x.ogg", || -> Result<()> { panic!("index {} out of range", 3) }).unwrap_err();
        assert!(matches!(of_decoder, Error::Corrupt { .. }));
        assert!(of_decoder.to_string().starts_with("x.ogg: the decoder gave up after 0.000 s: index 3 out of range"));
        let later = guard("x.ogg", || -> Result<()> {
            reached(1.25);
            panic!("again")
        });
        assert!(later.unwrap_err().to_string().starts_with("x.ogg: the decoder gave up after 1.250 s: again"));
        let of_ours = guard_call(|| -> Result<()> { panic!("no such state") }).unwrap_err();
        assert!(matches!(of_ours, Error::Internal(_)));
        assert_eq!(guard("x.ogg", || Ok(7)).unwrap(), 7);
        let nested = guard_call(|| guard("x.ogg", || Err::<(), _>(Error::corrupt("x.ogg", "cut")))).unwrap_err();
        assert_eq!(nested.to_string(), "x.ogg: cut");
    }
}
