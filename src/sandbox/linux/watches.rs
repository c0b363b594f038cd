//! What tells, without looking, that a place has changed since a view was made from it (inotify(7)).
//!
//! A sandbox that is made ahead of its call has a view of the workspace as it was then: what is denied there is masked, what is protected is covered.
//! Every folder that was looked into and the way to every place that mattered is watched *before* it is looked at, so that a view whose watches
//! have told nothing is the view that would be made now. One that they told of anything is thrown away; nothing is ever mended.
//!
//! The kernel tells of what happens by way of this machine, so only file systems that are changed in no other way are taken for watched.

use std::{
    collections::HashMap,
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        statfs::statfs,
    },
};

/// The most places that are watched for one sandbox. More take longer than is won.
const MOST: usize = 4096;

/// The most links that are followed one after another (path_resolution(7)).
const LINKS: u8 = 40;

/// File systems that nobody changes from elsewhere, by their number in statfs(2).
const LOCAL: [libc::c_long; 10] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x7371_7368, // SquashFS, which nobody changes at all
    0xe0f5_e1e2, // EROFS, likewise
];

/// See the module.
#[derive(Debug, Default)]
pub struct Watches {
    inotify: Option<Inotify>,
    watched: HashMap<PathBuf, AddWatchFlags>,
    /// Where paths lead, as far as they were followed.
    ways: HashMap<PathBuf, Option<PathBuf>>,
}

impl Watches {
    /// None: nothing is watched.
    pub fn none() -> Self {
        Self::default()
    }

    /// Ready to watch, if the system has room for that.
    pub fn begin() -> Self {
        Self { inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok(), ..Self::default() }
    }

    /// Whether anything is watched at all.
    pub const fn any(&self) -> bool {
        self.inotify.is_some()
    }

    /// Watches a folder: what it holds, and that it stays where it is.
    pub fn folder(&mut self, path: &Path) {
        let entries = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_MOVED_TO;
        self.add(path, entries | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_ONLYDIR);
    }

    /// Watches a place that may or may not be there: that it stays what it is, or absent, and the way to it, links included.
    pub fn place(&mut self, path: &Path) {
        if let Some(real) = self.resolve(path, LINKS) {
            self.add(&real, AddWatchFlags::IN_ATTRIB);
        }
    }

    /// Watches a place that is listed, if it is a folder.
    pub fn listing(&mut self, path: &Path) {
        if let Some(real) = self.resolve(path, LINKS) {
            self.add(&real, AddWatchFlags::IN_ATTRIB);
            if real.is_dir() {
                self.folder(&real);
            }
        }
    }

    /// Watches a place that is read, if it is a file.
    pub fn content(&mut self, path: &Path) {
        if let Some(real) = self.resolve(path, LINKS) {
            let read = if real.is_file() { AddWatchFlags::IN_MODIFY } else { AddWatchFlags::empty() };
            self.add(&real, read | AddWatchFlags::IN_ATTRIB);
        }
    }

    /// Where a path leads, with each step on the way watched: that it stays where it is, or that nothing comes to be there.
    fn resolve(&mut self, path: &Path, links: u8) -> Option<PathBuf> {
        self.inotify.as_ref()?;
        if let Some(known) = self.ways.get(path) {
            return known.clone();
        }
        let real = self.step(path, links);
        self.ways.insert(path.to_path_buf(), real.clone());
        real
    }

    fn step(&mut self, path: &Path, links: u8) -> Option<PathBuf> {
        let mut components = path.components();
        let (above, last) = match components.next_back()? {
            Component::RootDir => return Some(PathBuf::from("/")),
            last => (components.as_path(), last),
        };
        let above = self.resolve(above, links)?;
        let name = match last {
            Component::Normal(name) => name,
            Component::ParentDir => return Some(above.parent().unwrap_or(&above).to_path_buf()),
            _ => return Some(above),
        };
        let here = above.join(name);
        match fs::symlink_metadata(&here) {
            Ok(found) if found.is_symlink() => {
                self.folder(&above);
                self.add(&here, AddWatchFlags::IN_ATTRIB);
                let content = fs::read_link(&here).ok()?;
                self.resolve(&above.join(content), links.checked_sub(1)?)
            }
            Ok(found) => {
                self.add(&here, AddWatchFlags::empty());
                // Another thing that came to be there before it was watched is another way.
                if !fs::symlink_metadata(&here).is_ok_and(|now| (now.dev(), now.ino()) == (found.dev(), found.ino())) {
                    self.give_up();
                }
                Some(here)
            }
            Err(_) => {
                if above.is_dir() {
                    self.folder(&above)
                } else {
                    self.add(&above, AddWatchFlags::IN_ATTRIB)
                }
                None
            }
        }
    }

    /// What tells of changes; none where not all could be watched.
    pub fn descriptor(self) -> Option<OwnedFd> {
        self.inotify.map(OwnedFd::from)
    }

    fn add(&mut self, path: &Path, wanted: AddWatchFlags) {
        let Some(inotify) = &self.inotify else { return };
        let only_itself = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_DONT_FOLLOW;
        let wanted = wanted | only_itself;
        let before = self.watched.get(path).copied().unwrap_or(AddWatchFlags::empty());
        if before.contains(wanted) {
            return;
        }
        // A link may lead nowhere: it is asked of the folder that it lies in.
        let asked = if wanted.contains(AddWatchFlags::IN_ONLYDIR) { path } else { path.parent().unwrap_or(path) };
        let local = || statfs(asked).is_ok_and(|found| LOCAL.contains(&(found.filesystem_type().0 as libc::c_long)));
        if self.watched.len() >= MOST || (before.is_empty() && !local()) {
            return self.give_up();
        }
        // One inode has one watch, whatever the names by which it is found.
        match inotify.add_watch(path, before | wanted | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD)) {
            Ok(_) => drop(self.watched.insert(path.to_path_buf(), before | wanted)),
            // Whoever may not even read a folder on the way does not move it either.
            Err(Errno::EACCES) if wanted == only_itself => {}
            // What one may not read, the folder around it tells of.
            Err(Errno::EACCES) if !wanted.contains(AddWatchFlags::IN_ONLYDIR) && path.parent().is_some() => {
                let above = path.parent().unwrap_or(path).to_path_buf();
                self.folder(&above);
            }
            Err(_) => self.give_up(),
        }
    }

    /// Not all is watched, so nothing is.
    pub fn give_up(&mut self) {
        self.inotify = None;
    }
}

/// Whether watches have told of anything.
pub fn have_told(watches: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut source = [PollFd::new(watches.as_fd(), PollFlags::POLLIN)];
    // What cannot be asked has told.
    poll(&mut source, PollTimeout::ZERO) != Ok(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let world = Self(tempfile::tempdir_in("/var/tmp").unwrap());
            fs::create_dir_all(world.at("ws/sub")).unwrap();
            fs::create_dir_all(world.at("home/.config")).unwrap();
            fs::create_dir_all(world.at("elsewhere/real")).unwrap();
            fs::write(world.at("ws/config"), "a").unwrap();
            fs::write(world.at("ws/sub/other"), "a").unwrap();
            fs::write(world.at("elsewhere/real/read"), "a").unwrap();
            symlink(world.at("elsewhere/real"), world.at("home/link")).unwrap();
            world
        }

        fn at(&self, path: &str) -> PathBuf {
            fs::canonicalize(self.0.path()).unwrap().join(path)
        }

        fn watched(&self) -> OwnedFd {
            let mut watches = Watches::begin();
            watches.folder(&self.at("ws"));
            watches.folder(&self.at("ws/sub"));
            for place in ["ws/config", "home/.config/none/at/all", "home/link/secret", "home/link/read", "home/.netrc"] {
                watches.content(&self.at(place));
            }
            watches.descriptor().expect("nothing is watched here")
        }
    }

    #[test]
    fn each_change_that_matters_is_told_and_nothing_else_is() {
        type Change = fn(&World) -> std::io::Result<()>;
        let told: [(&str, Change); 15] = [
            ("a new entry", |world| fs::write(world.at("ws/.env"), "")),
            ("a new entry further down", |world| fs::write(world.at("ws/sub/.env"), "")),
            ("a removed one", |world| fs::remove_file(world.at("ws/sub/other"))),
            ("one that was moved", |world| fs::rename(world.at("ws/sub/other"), world.at("ws/sub/another"))),
            ("one that was moved in", |world| fs::rename(world.at("elsewhere/real"), world.at("ws/real"))),
            ("the content of a file that was read", |world| fs::write(world.at("ws/config"), "b")),
            ("a file in another's place", |world| {
                fs::write(world.at("home/new"), "b")?;
                fs::rename(world.at("home/new"), world.at("ws/config"))
            }),
            ("the mode of a folder", |world| fs::set_permissions(world.at("ws/sub"), fs::Permissions::from_mode(0o700))),
            ("the first step of a way that was not there", |world| fs::create_dir(world.at("home/.config/none"))),
            ("a place that was not there", |world| fs::write(world.at("home/.netrc"), "")),
            ("what is behind a link", |world| fs::write(world.at("elsewhere/real/secret"), "")),
            ("the content behind a link", |world| fs::write(world.at("elsewhere/real/read"), "b")),
            ("another link", |world| {
                symlink(world.at("ws"), world.at("home/x"))?;
                fs::rename(world.at("home/x"), world.at("home/link"))
            }),
            ("another folder on the way", |world| fs::rename(world.at("home"), world.at("home2"))),
            ("the workspace elsewhere", |world| fs::rename(world.at("ws"), world.at("ws2"))),
        ];
        for (what, change) in told {
            let world = World::new();
            let watched = world.watched();
            assert!(!have_told(&watched), "{what}");
            change(&world).unwrap();
            assert!(have_told(&watched), "{what}");
        }
        let world = World::new();
        let watched = world.watched();
        fs::write(world.at("ws/sub/other"), "the content of a file that nobody read").unwrap();
        fs::write(world.at("elsewhere/beside"), "").unwrap();
        fs::read_dir(world.at("ws")).unwrap().for_each(drop);
        assert!(!have_told(&watched));
    }

    #[test]
    fn a_file_system_that_others_change_is_not_watched() {
        let mut watches = Watches::begin();
        watches.folder(Path::new("/proc/self"));
        assert!(watches.descriptor().is_none());
        let mut none = Watches::none();
        none.folder(Path::new("/var/tmp"));
        none.place(Path::new("/var/tmp"));
        assert!(none.descriptor().is_none());
    }
}
