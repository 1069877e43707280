//! Jobs over all cores, with a watchdog: a job that hangs ends the test by name instead of holding it for ever.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// A guard against loops without end, not a measure of speed: a job takes milliseconds.
const HANG_SEC: u64 = 300;
/// What a worker without a job is at.
const NOTHING: u64 = u64::MAX;
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

/// Runs `job` for 0..total and fails with what failed, whose bytes are kept for a closer look. `name` is what a job is
/// called whose end does not come.
pub fn run(total: u64, name: impl Fn(u64) -> String, job: impl Fn(u64) -> Result<bool, Failure> + Sync) -> Counts {
    run_watched(total, HANG_SEC, name, job)
}

fn run_watched(
    total: u64,
    hang_sec: u64,
    name: impl Fn(u64) -> String,
    job: impl Fn(u64) -> Result<bool, Failure> + Sync,
) -> Counts {
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
    let places: Vec<_> = (0..num_workers).map(|_| (AtomicU64::new(NOTHING), AtomicU64::new(0))).collect();
    let work = |place: &(AtomicU64, AtomicU64)| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= total {
                break;
            }
            place.1.store(now(), Ordering::Relaxed);
            place.0.store(number, Ordering::Release);
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
        place.0.store(NOTHING, Ordering::Release);
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
                let job = job.load(Ordering::Acquire);
                if job != NOTHING && now() > since.load(Ordering::Relaxed) + hang_sec {
                    // Not by `eprintln!`, which the test harness keeps to itself: nobody would read it.
                    let message = format!("{} has not ended in {hang_sec} s: a hang\n", name(job));
                    let _ = std::io::stderr().write_all(message.as_bytes());
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

/// The last of three jobs hangs, when the others have long ended: this test, run again as a process of its own, must be
/// ended by the watchdog, which says which.
#[test]
fn a_hang_is_named_and_ends() {
    const MARK: &str = "HANG_FOR_TESTS";
    if std::env::var_os(MARK).is_some() {
        let job = |number| {
            if number == 2 {
                std::thread::sleep(Duration::from_secs(100)); // long enough, and no test without end either
            }
            Ok(true)
        };
        run_watched(3, 1, |number| format!("mutant {number} of a test"), job);
        return;
    }
    let done = std::process::Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "workers::a_hang_is_named_and_ends"])
        .env(MARK, "1")
        .output()
        .expect("it can be run again");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success());
    assert!(said.contains("mutant 2 of a test has not ended in 1 s: a hang"), "{said}");
}
