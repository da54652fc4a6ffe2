//! The folder that a session's queries spill to.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How the folders of all sessions begin.
const PREFIX: &str = "cdcql-spill-";
/// The file in such a folder that its session holds a lock on.
const OWNER: &str = "owner";
/// How often a folder is made anew that another session took for one without an owner.
const ATTEMPTS: usize = 8;

/// A folder of its own in the system's temporary folder, deleted with the session.
///
/// A process that was killed deletes nothing. The operating system releases its lock, so that the next session
/// can tell its folder from those in use, and deletes it.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: TempDir,
    _owner: File,
}

impl Scratch {
    /// A new folder below `parent`, from which those without an owner are deleted first.
    pub(super) fn below(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let folder = new_folder(parent)?;
            let path = folder.path().join(OWNER);
            let owner = File::create_new(&path)?;
            match owner.try_lock() {
                Ok(()) if path.exists() => {
                    let scratch = Self {
                        folder,
                        _owner: owner,
                    };
                    scratch.sweep(parent);
                    return Ok(scratch);
                }
                // Another session took the folder for one without an owner.
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("other sessions delete every new folder"))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// Deletes the folders beside this one whose sessions are gone.
    fn sweep(&self, parent: &Path) {
        let Ok(own) = self.folder.path().metadata() else {
            return;
        };
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if !named || path == self.folder.path() {
                continue;
            }
            // Held until the folder is gone: a session that is just making it must not believe that it is its own.
            let Some(_lock) = lock_of_abandoned(&path, &own) else {
                continue;
            };
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::debug!(path = %path.display(), %error, "a left folder was not deleted");
            }
        }
    }
}

fn new_folder(parent: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o700));
    }
    builder.tempdir_in(parent)
}

/// The lock of a folder of this user's whose session is gone.
fn lock_of_abandoned(folder: &Path, own: &Metadata) -> Option<File> {
    let found = folder.symlink_metadata().ok()?;
    let owner = folder.join(OWNER);
    let lock = owner.symlink_metadata().ok()?;
    let ours = found.is_dir() && lock.is_file() && same_user(&found, own) && same_user(&lock, own);
    let lock = ours.then(|| File::open(&owner).ok())??;
    lock.try_lock().ok()?;
    Some(lock)
}

#[cfg(unix)]
fn same_user(found: &Metadata, own: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    found.uid() == own.uid()
}

/// The temporary folder is the user's own.
#[cfg(not(unix))]
fn same_user(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_whose_session_is_gone_are_deleted_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Scratch::below(parent.path()).unwrap();
        let made = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("rows"), "spilled").unwrap();
            path
        };
        let left = made("cdcql-spill-left");
        std::fs::write(left.join(OWNER), "").unwrap();
        let unknown = made("cdcql-spill-unknown");
        let foreign = made("somebody-else");
        std::fs::write(foreign.join(OWNER), "").unwrap();
        let next = Scratch::below(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(unknown.exists() && foreign.exists());
        assert!(alive.path().exists() && next.path().exists());
        let path = next.path();
        drop(next);
        assert!(!path.exists());
    }
}
