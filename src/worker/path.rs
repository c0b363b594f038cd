//! From a path as the caller wrote it to a path that the kernel is asked about.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

use super::error::WorkerError;
use super::request::Access;

/// Linux's `PATH_MAX`: a longer path is refused before it is looked at or quoted anywhere.
pub(crate) const PATH_BYTES: usize = 4096;

/// `path` seen from `cwd`. Nothing is resolved and nothing is compared: which files may be touched is the kernel's decision.
///
/// # Errors
/// An empty path, one over 4096 bytes, one with a NUL byte, and one that begins with `~`, which no shell is there to expand.
pub(crate) fn resolve(cwd: &Path, path: &str) -> Result<PathBuf, WorkerError> {
    let refuse = |problem: &str| Err(WorkerError::Argument { argument: "path", problem: problem.to_owned() });
    if path.is_empty() {
        return refuse("it is empty; `.` names the working directory");
    }
    if path.len() > PATH_BYTES {
        return refuse("it is longer than 4096 bytes");
    }
    if path.contains('\0') {
        return refuse("it contains a NUL byte");
    }
    if path == "~" || path.starts_with("~/") {
        return refuse("`~` is not expanded; use an absolute path");
    }
    Ok(cwd.join(path))
}

/// `path` without `.` and with `..` taken back, by its text alone: for comparing names, never for opening them.
pub(crate) fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match normal.components().next_back() {
                Some(Component::Normal(_)) => {
                    normal.pop();
                }
                Some(Component::RootDir) => {}
                _ => normal.push(".."),
            },
            other => normal.push(other),
        }
    }
    normal
}

/// Opens a regular file for reading and answers what it is.
///
/// It is looked at before it is opened, since opening some devices already does something, and again after, since it may have
/// been replaced in between. `O_NONBLOCK` keeps a FIFO that slips in from blocking the open (open(2)).
///
/// # Errors
/// The operating system's refusals, and [`WorkerError::WrongKind`] for anything but a regular file.
pub(crate) fn open_regular(file: &Path, shown: &str, follow: bool) -> Result<(File, Metadata), WorkerError> {
    let reading = |source| WorkerError::reading(shown, "read it", source);
    let before = if follow { std::fs::metadata(file) } else { std::fs::symlink_metadata(file) }.map_err(reading)?;
    require_regular(&before, shown, Access::Read)?;
    let (opened, metadata) = open_nonblocking(file, follow).map_err(reading)?;
    require_regular(&metadata, shown, Access::Read)?;
    Ok((opened, metadata))
}

fn open_nonblocking(file: &Path, follow: bool) -> io::Result<(File, Metadata)> {
    let mut flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    if !follow {
        flags |= OFlag::O_NOFOLLOW;
    }
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(file)?;
    let metadata = opened.metadata()?;
    Ok((opened, metadata))
}

/// Refuses everything but a regular file, with a hint at the call that fits.
///
/// # Errors
/// [`WorkerError::WrongKind`].
pub(crate) fn require_regular(metadata: &Metadata, shown: &str, access: Access) -> Result<(), WorkerError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let (found, hint) = if kind.is_dir() {
        ("this is a directory", if access == Access::Read { "use list_dir" } else { "only regular files can be patched" })
    } else if kind.is_symlink() {
        ("this is a symbolic link", "name the file that it points to")
    } else if kind.is_fifo() {
        ("this is a FIFO", "only regular files can be used")
    } else if kind.is_socket() {
        ("this is a socket", "only regular files can be used")
    } else {
        ("this is a device", "only regular files can be used")
    };
    Err(WorkerError::WrongKind { path: shown.to_owned(), found: found.to_owned(), hint, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_normalised_by_its_text() {
        for (path, normal) in [
            ("a/./b", "a/b"),
            ("a/../b", "b"),
            ("./a//b/", "a/b"),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/../a", "/a"),
            ("a/..", ""),
        ] {
            assert_eq!(normalize(Path::new(path)), Path::new(normal), "{path}");
        }
    }

    #[test]
    fn a_path_that_a_shell_would_expand_is_refused() {
        assert_eq!(resolve(Path::new("/w"), "~x/y").unwrap(), Path::new("/w/~x/y"));
        for path in ["", "~", "~/a", "a\0b", &"x".repeat(5000)] {
            assert!(matches!(resolve(Path::new("/w"), path), Err(WorkerError::Argument { argument: "path", .. })), "{path:?}");
        }
    }
}
