//! Files below a folder that a hostile program may be changing: every step is opened without following a symbolic link, so that no
//! name can lead elsewhere between a look and an act.

use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat},
    sys::stat::{FileStat, Mode, fstatat},
};

const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens the folder at an absolute `path`. `ENOTDIR` or `ELOOP` where a step is no folder.
pub fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    let plain = |component: Component<'_>| matches!(component, Component::RootDir | Component::CurDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(Errno::EINVAL);
    }
    // One call for all steps (openat2(2), Linux 5.6).
    match openat2(AT_FDCWD, path, OpenHow::new().flags(FOLDER).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS)) {
        // The filter of a container around this may not know it.
        Err(Errno::ENOSYS | Errno::EPERM) => step_by_step(path),
        opened => opened,
    }
}

fn step_by_step(path: &Path) -> Result<OwnedFd, Errno> {
    let mut at = openat(AT_FDCWD, "/", FOLDER, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => at = openat(at.as_fd(), name, FOLDER, Mode::empty())?,
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL),
        }
    }
    Ok(at)
}

/// Opens what lies at an absolute `path` without access to its content; a link itself and not what it leads to.
pub fn entry(path: &Path) -> Result<OwnedFd, Errno> {
    let (parent, name) = split(path)?;
    openat(parent, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

fn split(path: &Path) -> Result<(OwnedFd, &std::ffi::OsStr), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL) };
    Ok((folder(parent)?, name))
}

/// What lies at an absolute `path`, a link itself and not what it leads to.
pub fn status(path: &Path) -> Result<FileStat, Errno> {
    let (parent, name) = split(path)?;
    fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The first `most` bytes of the regular file at an absolute `path`.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Errno> {
    let (parent, name) = split(path)?;
    // Not to be kept waiting by a named pipe.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(parent, name, flags, Mode::empty())?);
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    if !file.metadata().map_err(errno)?.is_file() {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(errno)?;
    Ok(bytes)
}

/// Writes a new file at an absolute `path`; `EEXIST` where there is anything.
pub fn create(path: &Path, content: &[u8]) -> Result<(), Errno> {
    let (parent, name) = split(path)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, Mode::from_bits_truncate(0o644))?);
    std::io::Write::write_all(&mut file, content).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// Puts a new file in the place of the one at an absolute `path`, so that whoever holds the old one by another name holds nothing.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Errno> {
    let Some(name) = path.file_name() else { return Err(Errno::EINVAL) };
    let new = path.with_file_name(format!(".new-{}", uuid::Uuid::now_v7().simple()));
    create(&new, content)?;
    rename(&new, name)
}

/// Whether there is anything at an absolute `path`; what cannot be looked at is there.
pub fn exists(path: &Path) -> bool {
    !matches!(status(path), Err(Errno::ENOENT))
}

/// What tells one entry from another that has taken its place: device and inode. `None` where there is nothing.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    status(path).ok().map(|status| (status.st_dev, status.st_ino))
}

/// Gives the entry at an absolute `path` another name in the same folder.
pub fn rename(path: &Path, name: &std::ffi::OsStr) -> Result<(), Errno> {
    let (parent, old) = split(path)?;
    renameat(&parent, old, &parent, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_open_a_folder_follow_no_link_and_agree() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).unwrap();
        for path in ["a/b", "a", "link", "link/b", "a/file", "a/file/x", "none", "a/none/x"] {
            let path = root.join(path);
            let outcome = |opened: Result<OwnedFd, Errno>| {
                opened.map(drop).map_err(|errno| if errno == Errno::ELOOP { Errno::ENOTDIR } else { errno })
            };
            assert_eq!(outcome(folder(&path)), outcome(step_by_step(&path)), "{}", path.display());
        }
        assert!(folder(&root.join("a/b")).is_ok() && folder(&root.join("link/b")).is_err());
        assert_eq!(folder(&root.join("a/../a")).map(drop), Err(Errno::EINVAL));
        assert_eq!(folder(Path::new("a")).map(drop), Err(Errno::EINVAL));
    }
}
