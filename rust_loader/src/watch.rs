//! Signals reach Python on its main thread only. Work on a pool therefore runs beside the calling thread, which asks
//! for it and tells the pool to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::decode::Interrupt;
use crate::error::{Error, Result};

const ASK_EVERY: Duration = Duration::from_millis(50);

/// Runs `work` on a thread of its own while this one asks `interrupt`; what `work` gets in its place may be asked from
/// any thread. The interrupt's error wins.
pub fn watched<T: Send>(interrupt: Interrupt<'_>, work: impl FnOnce(Interrupt<'_>) -> Result<T> + Send) -> Result<T> {
    let stop = AtomicBool::new(false);
    let asked = || if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        let worker = scope.spawn(|| {
            let result = work(&asked);
            drop(ended); // wakes the asking thread, also when `work` panics
            result
        });
        let interrupted = wait(interrupt, &end, &stop);
        let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        interrupted.and(result)
    })
}

/// Waits until nobody can send any more, and asks `interrupt` meanwhile; its error sets `stop`.
pub fn wait(interrupt: Interrupt<'_>, end: &Receiver<()>, stop: &AtomicBool) -> Result<()> {
    let mut interrupted = Ok(());
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(ASK_EVERY) {
        if interrupted.is_ok() {
            interrupted = interrupt();
            stop.store(interrupted.is_err(), Ordering::Relaxed);
        }
    }
    interrupted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_comes_through_and_an_interrupt_stops_the_work() {
        assert_eq!(watched(&|| Ok(()), |_| Ok(5)).unwrap(), 5);
        assert!(matches!(watched(&|| Ok(()), |_| Err::<(), _>(Error::value("x"))), Err(Error::Value(_))));
        let endless = |asked: Interrupt<'_>| -> Result<()> {
            loop {
                asked()?;
                std::thread::yield_now();
            }
        };
        assert!(matches!(watched(&|| Err(Error::Interrupted), endless), Err(Error::Interrupted)));
    }
}
