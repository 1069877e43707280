//! What lies under a folder: the path, size and times of every file, sorted by path. Written down, the list tells the
//! next walk what changed since. One record per file, ended by a zero byte, which no path holds:
//!
//! ```text
//! "{size} {mtime_ns} {ctime_ns} {path}\0"
//! ```

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::hash::{self, Digest};
use crate::shard_index::write_atomically;
use crate::watch::watched;

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundFile {
    /// Below the folder, with forward slashes.
    pub path: Box<[u8]>,
    /// -1 for a link that leads nowhere.
    pub size: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

/// A file that is not as it was: before (None: it is new), and now (None: it is gone).
pub type Change = (Option<FoundFile>, Option<FoundFile>);

pub struct FolderList {
    files: Vec<FoundFile>,
}

impl FolderList {
    /// Lists all files under a folder. Hidden files and folders are left out, as is the folder `skip` below it. Links
    /// to folders are followed; a folder that was visited is not visited again, so a loop of links ends. A folder or a
    /// file that cannot be looked at is an error: taken for absent, it would look as if its music had been deleted.
    pub fn walk(folder: &Path, skip: Option<&Path>, interrupt: Interrupt<'_>) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .build()
            .map_err(|e| Error::value(format!("cannot start threads to look at {}: {e}", folder.display())))?;
        watched(interrupt, |asked| {
            let skip = skip.and_then(|skip| std::fs::metadata(skip).ok()).map(|found| identity(&found));
            let mut walk = Walk { folder, skip, visited: HashSet::new(), paths: Vec::new(), asked };
            walk.enter(&mut Vec::new())?;
            let mut paths = walk.paths;
            paths.sort_unstable();
            let look = |path: Box<[u8]>| {
                asked()?;
                FoundFile::look(folder, path)
            };
            let files = pool.install(|| paths.into_par_iter().map(look).collect::<Result<_>>())?;
            Ok(Self { files })
        })
    }

    pub fn files(&self) -> &[FoundFile] {
        &self.files
    }

    /// Files whose path starts with `prefix`.
    pub fn starting(&self, prefix: &[u8]) -> &[FoundFile] {
        let begin = self.files.partition_point(|file| *file.path < *prefix);
        let count = self.files[begin..].iter().take_while(|file| file.path.starts_with(prefix)).count();
        &self.files[begin..begin + count]
    }

    pub fn digest(&self) -> Digest {
        hash::of_bytes(&self.to_bytes())
    }

    pub fn write(&self, out: &Path) -> Result<()> {
        write_atomically(out, &self.to_bytes()).map_err(|e| Error::io(out, e))
    }

    /// What changed since a list was written, by path.
    pub fn changes_since(&self, former: &Path) -> Result<Vec<Change>> {
        let bytes = std::fs::read(former).map_err(|e| Error::io(former, e))?;
        let mut now = self.files.iter().peekable();
        let mut changes = Vec::new();
        for record in bytes.split_inclusive(|byte| *byte == 0) {
            let before = FoundFile::parse(record)
                .ok_or_else(|| Error::value(format!("{}: not a list of files", former.display())))?;
            while let Some(file) = now.next_if(|file| file.path < before.path) {
                changes.push((None, Some(file.clone())));
            }
            match now.next_if(|file| file.path == before.path) {
                Some(file) if *file == before => {}
                file => changes.push((Some(before), file.cloned())),
            }
        }
        changes.extend(now.map(|file| (None, Some(file.clone()))));
        Ok(changes)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.files.iter().map(|file| file.path.len() + 64).sum());
        for file in &self.files {
            bytes.extend(format!("{} {} {} ", file.size, file.mtime_ns, file.ctime_ns).as_bytes());
            bytes.extend(&file.path);
            bytes.push(0);
        }
        bytes
    }
}

impl FoundFile {
    fn look(folder: &Path, path: Box<[u8]>) -> Result<Self> {
        let there = folder.join(std::ffi::OsStr::from_bytes(&path));
        match std::fs::metadata(&there) {
            Ok(found) => Ok(Self {
                path,
                size: i64::try_from(found.size()).unwrap_or(i64::MAX),
                mtime_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
                ctime_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
            }),
            Err(e) if leads_nowhere(&e) => Ok(Self { path, size: -1, mtime_ns: 0, ctime_ns: 0 }),
            Err(e) => Err(Error::io(&there, e)),
        }
    }

    /// Reads one record with its zero byte.
    fn parse(record: &[u8]) -> Option<Self> {
        let mut parts = record.strip_suffix(&[0])?.splitn(4, |byte| *byte == b' ');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
        let (size, mtime_ns, ctime_ns) = (number()?, number()?, number()?);
        Some(Self { path: parts.next()?.into(), size, mtime_ns, ctime_ns })
    }
}

/// The names under a folder, in the order of a walk that enters folders by name.
struct Walk<'a> {
    folder: &'a Path,
    skip: Option<(u64, u64)>,
    visited: HashSet<(u64, u64)>,
    paths: Vec<Box<[u8]>>,
    asked: Interrupt<'a>,
}

impl Walk<'_> {
    /// Lists the folder at `prefix`, which is empty or ends in a slash.
    fn enter(&mut self, prefix: &mut Vec<u8>) -> Result<()> {
        (self.asked)()?;
        let here: PathBuf = self.folder.join(std::ffi::OsStr::from_bytes(prefix));
        let found = match std::fs::metadata(&here) {
            Ok(found) => found,
            Err(e) if !prefix.is_empty() && leads_nowhere(&e) => return Ok(()), // deleted while its parent was read
            Err(e) => return Err(Error::io(&here, e)),
        };
        let known = identity(&found);
        if (!prefix.is_empty() && Some(known) == self.skip) || !self.visited.insert(known) {
            return Ok(());
        }
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(&here).map_err(|e| Error::io(&here, e))? {
            let entry = entry.map_err(|e| Error::io(&here, e))?;
            let name = entry.file_name().into_vec();
            if name.starts_with(b".") {
                continue;
            }
            let kind = entry.file_type().map_err(|e| Error::io(&entry.path(), e))?;
            let is_folder = if kind.is_symlink() {
                match std::fs::metadata(entry.path()) {
                    Ok(found) => found.is_dir(),
                    Err(e) if leads_nowhere(&e) => false,
                    Err(e) => return Err(Error::io(&entry.path(), e)),
                }
            } else {
                kind.is_dir()
            };
            if is_folder {
                folders.push(name);
            } else {
                self.paths.push([prefix.as_slice(), &name].concat().into());
            }
        }
        folders.sort_unstable();
        for name in folders {
            let length = prefix.len();
            prefix.extend(name);
            prefix.push(b'/');
            self.enter(prefix)?;
            prefix.truncate(length);
        }
        Ok(())
    }
}

/// Nothing is there, as opposed to: it cannot be said what is (no permission, a fault of the disk, a lost server).
fn leads_nowhere(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    const ELOOP: i32 = 40; // a loop of links, on Linux; its ErrorKind is not stable
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) || error.raw_os_error() == Some(ELOOP)
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn nanoseconds(sec: i64, nsec: i64) -> i64 {
    sec.saturating_mul(1_000_000_000).saturating_add(nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(files: &[(&str, i64)]) -> FolderList {
        let file =
            |&(path, size): &(&str, i64)| FoundFile { path: path.as_bytes().into(), size, mtime_ns: 5, ctime_ns: -6 };
        FolderList { files: files.iter().map(file).collect() }
    }

    #[test]
    fn changes_are_what_is_new_gone_or_different() {
        let path = std::env::temp_dir().join(format!("folder_list.{}", std::process::id()));
        list(&[("a b", 1), ("b", 2), ("c", 3)]).write(&path).unwrap();
        let now = list(&[("a a", 9), ("b", 2), ("c", 4), ("d", -1)]);
        let changes = now.changes_since(&path).unwrap();
        let shown: Vec<_> = changes
            .iter()
            .map(|(before, now)| (before.as_ref().map(|f| f.size), now.as_ref().map(|f| f.size)))
            .collect();
        assert_eq!(shown, [(None, Some(9)), (Some(1), None), (Some(3), Some(4)), (None, Some(-1))]);
        assert_eq!(now.starting(b"a ").len(), 1);
        for damaged in ["x", "1 2 3\0", "1 2 x a\0", "1 2 3 a"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(now.changes_since(&path).is_err(), "{damaged:?}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
