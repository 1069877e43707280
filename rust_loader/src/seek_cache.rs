//! What was learnt about files, kept in memory as long as they stay as they are: bounded, least recently used out first.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// A file as it is now; one that was written to or replaced has another identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    path: PathBuf,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: (u64, u64),
}

impl FileIdentity {
    pub fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
        }
    }
}

/// Values by file, at most `max_bytes` of them together.
pub struct SeekCache<T> {
    held: LazyLock<Mutex<Held<T>>>,
    max_bytes: usize,
}

struct Held<T> {
    entries: HashMap<FileIdentity, Entry<T>>,
    bytes: usize,
    clock: u64,
}

struct Entry<T> {
    value: Arc<T>,
    bytes: usize,
    used: u64,
}

impl<T> SeekCache<T> {
    pub const fn new(max_bytes: usize) -> Self {
        Self { held: LazyLock::new(|| Mutex::new(Held { entries: HashMap::new(), bytes: 0, clock: 0 })), max_bytes }
    }

    /// Makes the place for the values, so that no fork can come in the midst of it.
    pub fn prepare(&self) {
        LazyLock::force(&self.held);
    }

    pub fn get(&self, file: &FileIdentity) -> Option<Arc<T>> {
        let mut held = self.lock()?;
        held.clock += 1;
        let now = held.clock;
        let entry = held.entries.get_mut(file)?;
        entry.used = now;
        Some(Arc::clone(&entry.value))
    }

    /// Keeps a value of about `bytes`; makes room by dropping what was not used for longest.
    pub fn put(&self, file: FileIdentity, value: Arc<T>, bytes: usize) {
        let bytes = bytes + size_of::<T>() + 2 * size_of::<FileIdentity>() + 2 * file.path.as_os_str().len();
        let Some(mut held) = self.lock() else { return };
        held.clock += 1;
        let entry = Entry { value, bytes, used: held.clock };
        held.bytes += bytes;
        if let Some(old) = held.entries.insert(file, entry) {
            held.bytes -= old.bytes;
        }
        if held.bytes > self.max_bytes {
            held.drop_oldest(self.max_bytes / 4 * 3);
        }
    }

    /// None when the lock cannot be had soon: a process forked while another thread held it never gets it, and does
    /// without.
    fn lock(&self) -> Option<MutexGuard<'_, Held<T>>> {
        for _ in 0..1000 {
            match self.held.try_lock() {
                Ok(held) => return Some(held),
                Err(std::sync::TryLockError::WouldBlock) => std::thread::yield_now(),
                Err(std::sync::TryLockError::Poisoned(held)) => return Some(held.into_inner()),
            }
        }
        None
    }
}

impl<T> Held<T> {
    fn drop_oldest(&mut self, max_bytes: usize) {
        let mut ages: Vec<(u64, usize)> = self.entries.values().map(|entry| (entry.used, entry.bytes)).collect();
        ages.sort_unstable();
        let mut last_dropped = 0;
        for (used, bytes) in ages {
            if self.bytes <= max_bytes {
                break;
            }
            self.bytes -= bytes;
            last_dropped = used;
        }
        self.entries.retain(|_, entry| entry.used > last_dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> FileIdentity {
        let metadata = std::fs::metadata(".").unwrap();
        FileIdentity::new(Path::new(name), &metadata)
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = SeekCache::<u32>::new(40_000);
        for (value, name) in ["a", "b", "c"].iter().enumerate() {
            cache.put(identity(name), Arc::new(value as u32), 10_000);
        }
        assert!(cache.get(&identity("a")).is_some());
        cache.put(identity("d"), Arc::new(3), 10_000);
        let found = ["a", "b", "c", "d"].map(|name| cache.get(&identity(name)).is_some());
        assert_eq!(found, [true, false, false, true]);
    }

    #[test]
    fn a_value_put_twice_counts_once() {
        let cache = SeekCache::<u32>::new(40_000);
        for value in 0..100 {
            cache.put(identity("a"), Arc::new(value), 10_000);
        }
        cache.put(identity("b"), Arc::new(7), 10_000);
        assert_eq!(cache.get(&identity("a")).as_deref(), Some(&99));
        assert_eq!(cache.get(&identity("b")).as_deref(), Some(&7));
    }
}
