//! Jobs over all cores, with a watchdog: a job that hangs ends the test by name instead of holding it for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// A guard against loops without end, not a measure of speed: a job takes milliseconds.
const HANG_SEC: u64 = 300;
const MAX_SHOWN: usize = 30;

#[derive(Debug)]
pub struct Counts {
    pub total: u64,
    pub passed: u64,
}

/// (name, what does not hold, the bytes)
pub type Failure = (String, String, Vec<u8>);

/// Where panics happened, caught ones too.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs `job` for 0..total and fails with what failed, whose bytes are kept for a closer look.
pub fn run(total: u64, job: impl Fn(u64) -> Result<bool, Failure> + Sync) -> Counts {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| PANICS.lock().expect("never held over a panic").push(info.to_string())));
    });
    let (next, passed, running) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
    let failures: Mutex<Vec<Failure>> = Mutex::default();
    let began = Instant::now();
    let now = || began.elapsed().as_secs();
    // per worker: the job it is at, and since when
    let num_workers = std::thread::available_parallelism().map_or(2, usize::from);
    let places: Vec<(AtomicU64, AtomicU64)> = (0..num_workers).map(|_| Default::default()).collect();
    let work = |place: &(AtomicU64, AtomicU64)| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= total {
                break;
            }
            place.0.store(number, Ordering::Relaxed);
            place.1.store(now(), Ordering::Relaxed);
            match catch_unwind(AssertUnwindSafe(|| job(number))) {
                Ok(Ok(good)) => drop(passed.fetch_add(u64::from(good), Ordering::Relaxed)),
                Ok(Err(failure)) => failures.lock().expect("no panic holds it").push(failure),
                Err(_) => {
                    let message = PANICS.lock().expect("no panic holds it").last().cloned().unwrap_or_default();
                    let failure = (format!("job {number}"), format!("panics: {message}"), Vec::new());
                    failures.lock().expect("no panic holds it").push(failure);
                }
            }
        }
        running.fetch_sub(1, Ordering::Release);
    };
    std::thread::scope(|scope| {
        for place in &places {
            running.fetch_add(1, Ordering::Relaxed);
            scope.spawn(|| work(place));
        }
        while running.load(Ordering::Acquire) > 0 {
            std::thread::sleep(Duration::from_millis(20));
            for (job, since) in &places {
                if next.load(Ordering::Relaxed) < total && now() > since.load(Ordering::Relaxed) + HANG_SEC {
                    eprintln!("job {} has not ended in {HANG_SEC} s: a hang", job.load(Ordering::Relaxed));
                    std::process::abort();
                }
            }
        }
    });
    report(failures.into_inner().expect("no panic holds it"));
    Counts { total, passed: passed.into_inner() }
}

fn report(mut failures: Vec<Failure>) {
    let panics = std::mem::take(&mut *PANICS.lock().expect("no panic holds it"));
    // A decoder's panic on hostile bytes is caught and becomes an error; our own code must not panic at all.
    let ours = panics.iter().filter(|panic| panic.contains("at src/") || panic.contains("at rust_loader/src/"));
    failures.extend(ours.map(|panic| ("our own code".to_owned(), panic.clone(), Vec::new())));
    if failures.is_empty() {
        return;
    }
    failures.sort();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, message, data) in failures.iter().take(MAX_SHOWN) {
        println!("{name}: {message}");
        if !data.is_empty() {
            let path = folder.join(name.replace(' ', "_"));
            std::fs::write(&path, data).expect("the target folder is writable");
            println!("    kept as {}", path.display());
        }
    }
    panic!("{} failures", failures.len());
}
