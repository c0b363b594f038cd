//! Removes the private folder of a session, whatever programs left in it: folders without permissions, trees deeper than any path.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Removes `folder` and all below it; no link in it is followed. To be called when nothing runs in it any more.
pub fn tree(folder: &Path) -> io::Result<()> {
    match ordinary(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    // What lies deep is brought up and removed there, so that no path and no recursion grows with the depth.
    let mut number = 0u64;
    loop {
        let mut any = false;
        for entry in fs::read_dir(folder)? {
            any = true;
            let path = entry?.path();
            if !fs::symlink_metadata(&path)?.is_dir() {
                fs::remove_file(&path)?;
                continue;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            for below in fs::read_dir(&path)? {
                let below = below?.path();
                if fs::symlink_metadata(&below)?.is_dir() {
                    // Moving a folder changes its `..`, for which it has to be writable.
                    fs::set_permissions(&below, fs::Permissions::from_mode(0o700))?;
                }
                fs::rename(&below, free_name(folder, &mut number))?;
            }
            fs::remove_dir(&path)?;
        }
        if !any {
            return fs::remove_dir(folder);
        }
    }
}

/// Without recursion: the standard library's own would use up the stack in a tree that is deep enough.
fn ordinary(folder: &Path) -> io::Result<()> {
    let mut pending = vec![(folder.to_path_buf(), false)];
    while let Some((folder, emptied)) = pending.pop() {
        if emptied {
            fs::remove_dir(&folder)?;
            continue;
        }
        let entries = fs::read_dir(&folder)?;
        pending.push((folder, true));
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push((entry.path(), false));
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn free_name(folder: &Path, number: &mut u64) -> PathBuf {
    loop {
        *number += 1;
        let path = folder.join(format!(".removed-{number}"));
        if fs::symlink_metadata(&path).is_err() {
            return path;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_folders_deep_trees_and_links_go_and_what_links_lead_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let (top, outside) = (root.path().join("top"), root.path().join("outside"));
        fs::create_dir_all(top.join("closed/below")).unwrap();
        fs::write(top.join("closed/below/file"), "").unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("closed/link")).unwrap();
        let mut at = nix::fcntl::open(&top, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
        for _ in 0..5000 {
            nix::sys::stat::mkdirat(&at, "d", nix::sys::stat::Mode::S_IRWXU).unwrap();
            at = nix::fcntl::openat(&at, "d", nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
        }
        fs::set_permissions(top.join("closed/below"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
        tree(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    }
}
