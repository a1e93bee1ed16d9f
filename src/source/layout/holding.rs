//! Who writes into a layout beside others, and who deletes from it alone.
//!
//! Content comes before what points to it, and what is there already is passed over. A deleter that looked in between would
//! take away what a writer is about to point to. So writers share a lock on the layout's directory until they are done, and
//! a deleter has it alone. Readers ask for no lock: they may have leave to read, and no more. Tools that know no locks are
//! not kept out.
//!
//! Whoever has the lock alone knows that nobody is writing content, and sweeps away what killed writers left of theirs.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::reading::BLOBS;
use super::{Layout, LayoutFault, VERSION_FILE};
use crate::files::{Directory, Lock, is_temporary};
use crate::source::SourceError;
use crate::source::limits::{MAX_LAYOUT_CONTENT, MAX_LAYOUT_WAIT};

/// The lock of a layout's value and its clones. It is let go of with the last of them.
#[derive(Debug, Default)]
pub(super) struct Hold(Mutex<Option<Directory>>);

impl Hold {
    fn directory(&self) -> MutexGuard<'_, Option<Directory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layout is this value's alone until the guard goes. A writer has to ask anew afterwards, which it does by itself.
pub(super) struct Alone(Layout);

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.hold.directory().take();
    }
}

impl Layout {
    /// Keeps deleters away until this value and its clones are gone. What holds it already holds on.
    pub(super) async fn share(&self) -> Result<(), SourceError> {
        self.lock(Lock::Shared, MAX_LAYOUT_WAIT).await
    }

    /// Keeps everybody else away. What this value shares so far is let go of first, so that no two wait for each other.
    pub(super) async fn alone(&self) -> Result<Alone, SourceError> {
        self.hold.directory().take();
        self.lock(Lock::Exclusive, MAX_LAYOUT_WAIT).await?;
        Ok(Alone(self.clone()))
    }

    async fn lock(&self, lock: Lock, wait: Duration) -> Result<(), SourceError> {
        self.check_writable()?;
        let deadline = Instant::now() + wait;
        loop {
            let tried = self.beside(move |layout| layout.try_lock(lock)).await;
            if tried.map_err(|source| self.unwritable(VERSION_FILE, source))? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.fault(LayoutFault::Busy));
            }
            sleep(ASKED_AGAIN).await;
        }
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let mut held = self.hold.directory();
        if held.is_some() {
            return Ok(true);
        }
        let directory = Directory::open(&self.path)?;
        let is_alone = directory.try_lock(Lock::Exclusive)?;
        if is_alone {
            sweep(&directory);
        }
        let is_locked = match lock {
            Lock::Exclusive => is_alone,
            Lock::Shared => directory.try_lock(Lock::Shared)?,
        };
        *held = is_locked.then_some(directory);
        Ok(is_locked)
    }
}

/// Takes away what killed writers left beside their content. What is not to be had stays: it is only litter. The layout's own
/// directory is not swept, for it may be where somebody keeps other files, and writes them in the same way.
fn sweep(layout: &Directory) {
    let Ok(blobs) = layout.enter(BLOBS) else { return };
    let mut left = MAX_LAYOUT_CONTENT;
    for algorithm in blobs.names(left).unwrap_or_default() {
        let Ok(folder) = blobs.enter(&algorithm) else { continue };
        let names = folder.names(left).unwrap_or_default();
        left = left.saturating_sub(names.len());
        for name in names.iter().filter(|name| is_temporary(name)) {
            if matches!(folder.size_of(name), Ok(Some(_))) {
                let _ = folder.remove(name);
            }
        }
    }
}

/// How long a lock is left to others before it is asked for again: soon enough for a person.
const ASKED_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Blob, Repository};
    use crate::remedy::{Code, Remedy as _};
    use crate::source::{ImageSink as _, Sink as _};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    async fn code(layout: &Layout, lock: Lock) -> Option<Code> {
        layout.lock(lock, Duration::ZERO).await.err().map(|error| error.code())
    }

    #[tokio::test]
    async fn writers_share_a_layout_and_a_deleter_has_it_alone() {
        let place = tempfile::tempdir().unwrap();
        let writer = Layout::create(place.path()).await.unwrap();
        let other = Layout::create(place.path()).await.unwrap();
        let deleter = Layout::open(place.path()).await.unwrap();
        let busy = Some(Code("layout-busy"));
        assert_eq!(code(&deleter, Lock::Exclusive).await, busy);
        let clone = writer.clone();
        drop((writer, other));
        assert_eq!(code(&deleter, Lock::Exclusive).await, busy, "a clone writes still");
        drop(clone);
        let alone = deleter.alone().await.unwrap();
        let late = Layout::open(place.path()).await.unwrap();
        assert_eq!((code(&late, Lock::Shared).await, code(&late, Lock::Exclusive).await), (busy, busy));
        drop(alone);
        assert_eq!(code(&late, Lock::Shared).await, None);
    }

    #[tokio::test]
    async fn who_writes_and_deletes_waits_for_nobody_but_others() {
        let place = tempfile::tempdir().unwrap();
        let repository: Repository = "registry.example/app".parse().unwrap();
        let image = Blob::of(crate::oci::media_type::IMAGE_INDEX, br#"{"schemaVersion":2,"manifests":[]}"#.to_vec());
        let both = Layout::create(place.path()).await.unwrap();
        for _ in 0..2 {
            both.push_manifest(&repository, &image).await.unwrap();
            both.name(&repository, &image, None).await.unwrap();
            both.delete_manifest(&repository, image.descriptor()).await.unwrap();
        }
        // It shares the layout again once it writes again, and not before.
        let deleter = Layout::open(place.path()).await.unwrap();
        drop(deleter.alone().await.unwrap());
        both.push_blob(&repository, &image).await.unwrap();
        assert_eq!(code(&deleter, Lock::Exclusive).await, Some(Code("layout-busy")));
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_swept_by_who_has_the_layout_alone() {
        let place = tempfile::tempdir().unwrap();
        let litter = format!("blobs/sha256/.{}.part", "0a".repeat(16));
        let kept = [
            format!("blobs/sha256/.{}.part", "0A".repeat(16)),
            format!("blobs/sha256/.{}.part", "0a".repeat(15)),
            format!("blobs/sha256/{}", "0a".repeat(32)),
            format!("blobs/sha256/.{}.part", "0c".repeat(16)),
            format!(".{}.part", "0a".repeat(16)),
        ];
        let path = |name: &str| place.path().join(name);
        let there = |name: &str| fs::symlink_metadata(path(name)).is_ok();
        let writer = Layout::create(place.path()).await.unwrap();
        fs::create_dir_all(path("blobs/sha256")).unwrap();
        for name in kept.iter().chain([&litter]) {
            if name.contains("0c") {
                symlink(Path::new("elsewhere"), path(name)).unwrap();
            } else {
                fs::write(path(name), b"part").unwrap();
            }
        }
        // Another writer's, for all that anybody knows.
        drop(Layout::create(place.path()).await.unwrap());
        assert!(there(&litter));
        drop(writer);
        drop(Layout::open(place.path()).await.unwrap());
        assert!(there(&litter), "who only reads sweeps nothing");
        drop(Layout::create(place.path()).await.unwrap());
        assert!(!there(&litter) && kept.iter().all(|name| there(name)));
    }
}
