//! Changing what lies outside of the writable places, by any means.

use std::{
    fs,
    io::{self, Write as _},
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    },
    path::Path,
    time::{Duration, Instant},
};

use super::{outside_is_granted, outside_or_read_only, workspace_is_read_only};
use crate::{
    sandbox::sys::{
        self,
        Argument::{Bytes, Null, Number, Text},
    },
    selftest::{
        case::{Area::Outside, Case, Control, Outcome},
        facts::Facts,
        scene::Scene,
        tries::{PLANTED, Tries, read},
    },
    worker::{Reply, Request},
};

/// Relative to the current folder, for calls with a folder's descriptor.
const HERE: i64 = libc::AT_FDCWD as i64;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::inside("outside-write", Outside, "write, truncate, make and remove files beside the workspace", open_and_make)
            .list(&[1, 13])
            .unless(outside_is_granted),
        Case::scene(
            "outside-workdir",
            Outside,
            "start a call in a folder of the attacker's choosing, and write there",
            workdir,
            |facts, tries| {
                tries.write("written-here");
                tries.write(facts.outside.join("file"));
            },
        )
        .list(&[1, 2])
        .unless(outside_is_granted),
        Case::inside("outside-dot-dot", Outside, "write through .., /proc/self/cwd and too long or looping paths", dot_dot)
            .list(&[3, 54])
            .unless(outside_is_granted),
        Case::inside("outside-prefix", Outside, "write in a folder whose name begins like the workspace's", |facts, tries| {
            let beside = format!("{}-evil", facts.workspace.display());
            tries.write(format!("{beside}/file"));
            tries.write(format!("{beside}/new"));
        })
        .list(&[7])
        .unless(outside_is_granted),
        Case::inside("outside-link-of-the-repository", Outside, "write through links that the repository ships", |facts, tries| {
            for link in ["link-out/file", "link-out/new", "link-file", "link-home/.bashrc", "link-home/new", "link-out/../outside/file"] {
                tries.write(facts.workspace.join(link));
            }
        })
        .list(&[4])
        .unless(outside_is_granted),
        Case::inside("outside-link-made-inside", Outside, "make links to places outside, and write through them", links)
            .list(&[4, 5])
            .unless(outside_or_read_only),
        Case::scene(
            "outside-link-then-file-tool",
            Outside,
            "make a link with one call, write through it with the file tools",
            link_then_tool,
            |facts, tries| {
                tries.act("link", symlink(&facts.outside, facts.workspace.join("way-out")));
                tries.act("link to a file", symlink(facts.outside.join("file"), facts.workspace.join("way-to-file")));
                tries.act("link to home", symlink(&facts.home, facts.workspace.join("way-home")));
            },
        )
        .list(&[5])
        .also("TOCTOU between tools")
        .unless(outside_or_read_only),
        Case::inside("outside-link-race", Outside, "swap a folder for a link while writing in it", race)
            .list(&[4, 5])
            .unless(outside_or_read_only),
        Case::inside("outside-rename", Outside, "move files and folders across the border, both ways", renames)
            .unless(outside_or_read_only),
        Case::inside("outside-hard-link", Outside, "write through hard links across the border", hard_links)
            .list(&[6])
            .unless(outside_or_read_only),
        Case::inside("outside-unnamed-file", Outside, "make an unnamed file inside and give it a name outside", unnamed)
            .also("O_TMPFILE, linkat(2)")
            .unless(outside_or_read_only),
        Case::inside(
            "outside-proc-aliases",
            Outside,
            "write by way of /proc: root, cwd and descriptors of every process in sight",
            proc_aliases,
        )
        .list(&[6, 54])
        .unless(outside_is_granted),
        Case::inside("outside-mounts", Outside, "mount the outside folder into a namespace of one's own, and write there", mounts)
            .list(&[6])
            .unless(outside_is_granted)
            .control(Control::LeaksForUsers("as root without layers it would mount on the machine itself")),
        Case::inside("outside-file-handle", Outside, "open a file outside by its handle", file_handle)
            .also("open_by_handle_at(2)")
            .unless(outside_is_granted)
            .control(Control::LeaksForRoot("it needs CAP_DAC_READ_SEARCH")),
        Case::inside("outside-mode", Outside, "change modes outside: chmod, fchmodat, fchmodat2, by descriptor", modes)
            .also("Landlock does not mediate it")
            .unless(outside_is_granted),
        Case::inside("outside-owner", Outside, "change owners outside", |facts, tries| {
            let path = facts.outside.join("file");
            let own = |value: u32| Some(value);
            let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            tries.act("chown", std::os::unix::fs::chown(&path, own(user), own(group)));
            tries.act("lchown", std::os::unix::fs::lchown(&path, own(user), own(group)));
            tries.act("chown to nobody", std::os::unix::fs::chown(&path, own(65534), own(65534)));
        })
        .unless(outside_is_granted),
        Case::inside("outside-times", Outside, "change times outside", |facts, tries| {
            let path = facts.outside.join("file");
            let then = nix::sys::time::TimeSpec::new(1, 1);
            let flag = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
            tries.act("utimensat", nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &path, &then, &then, flag).map_err(io::Error::from));
            let opened = fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH));
            tries.act("futimens", opened);
        })
        .unless(outside_is_granted),
        Case::inside("outside-attributes", Outside, "set extended attributes and access lists outside", attributes)
            .unless(outside_is_granted),
        Case::inside("outside-flags", Outside, "set file flags outside: chattr, file_setattr", flags)
            .also("FS_IOC_SETFLAGS, file_setattr(2)")
            .unless(outside_is_granted),
        Case::inside("outside-tree", Outside, "unlink, make folders, nodes and links outside, and truncate by path", tree)
            .unless(outside_is_granted),
        Case::inside(
            "outside-planted-temporary",
            Outside,
            "plant links at temporary names for whoever writes there next",
            planted_temporary,
        )
        .list(&[11])
        .also("CVE-2026-46406")
        .unless(outside_is_granted)
        .control(Control::Not("without a sandbox /tmp is the host's own")),
        Case::inside("outside-home", Outside, "change the person's start-up files", |facts, tries| {
            for name in [".bashrc", ".profile", ".gitconfig", ".config/git/config", ".local/bin/git", ".ssh/authorized_keys"] {
                let path = facts.home.join(name);
                if let Some(folder) = path.parent() {
                    let _ = fs::create_dir_all(folder);
                }
                tries.write(path);
            }
        })
        .list(&[71]),
        Case::inside("outside-state", Outside, "forge the log, and plant in the state folder", |facts, tries| {
            tries.write(facts.state.join("log/session.jsonl"));
            tries.write(facts.state.join("log/new.jsonl"));
            tries.act("remove the log", fs::remove_file(facts.state.join("log/session.jsonl")));
        }),
        Case::inside("outside-set-id", Outside, "give a file of the workspace a set-id bit", set_id).unless(workspace_is_read_only),
        Case::inside("outside-device", Outside, "make device nodes", |_, tries| {
            for (name, kind) in [("block", libc::S_IFBLK), ("character", libc::S_IFCHR)] {
                let mode = i64::from(kind | 0o666);
                tries.call(name, libc::SYS_mknodat, vec![Number(HERE), Text(name), Number(mode), Number(0x103)]);
            }
        })
        .by_answer()
        .unless(workspace_is_read_only)
        .control(Control::LeaksForRoot("it needs CAP_MKNOD")),
        Case::inside("outside-core-dump", Outside, "have the kernel write a core file, or start its helper", core_dump)
            .may_die()
            .control(Control::Not("limits hold without layers as well")),
    ]
}

fn open_and_make(facts: &Facts, tries: &mut Tries) {
    let file = facts.outside.join("file");
    tries.write(&file);
    tries.act("truncate", fs::File::create(&file));
    tries.act(
        "open for reading and writing",
        fs::OpenOptions::new().read(true).write(true).open(&file).and_then(|mut file| file.write_all(b"x")),
    );
    tries.write(facts.outside.join("new"));
    tries.act("make a folder", fs::create_dir(facts.outside.join("new-folder")));
    tries.act("remove", fs::remove_file(&file));
}

fn workdir(scene: &mut Scene<'_>) -> Outcome {
    let folders = [scene.world.at("outside"), scene.world.at("workspace/.."), scene.world.at("workspace/link-out"), scene.world.at("home")];
    for folder in folders {
        if let Err(error) = scene.attempt_from(folder) {
            return Outcome::Untried(error.to_string());
        }
    }
    // A plan is made before any call is heard of: what a call says of its folder is no part of it.
    let again = crate::sandbox::Plan::new(scene.policy, &scene.world.session)
        .map(|plan| crate::sandbox::Plan { layers: scene.plan.layers.clone(), ..plan });
    if again.as_ref() == Ok(scene.plan) { Outcome::Refused } else { Outcome::Leaked("the roots of a later call are others".to_owned()) }
}

fn dot_dot(facts: &Facts, tries: &mut Tries) {
    tries.write(facts.workspace.join("../outside/file"));
    tries.write(facts.workspace.join("sub/../../outside/./new"));
    tries.write("/proc/self/cwd/../outside/file");
    let up = "../".repeat(40);
    tries.write(format!("{}{up}{}", facts.workspace.join("sub/").display(), facts.outside.join("file").display()));
    let long = format!("{}/{}../outside/file", facts.workspace.display(), "./".repeat(2000));
    tries.write(long);
    let _ = symlink("loop", facts.workspace.join("loop"));
    tries.write(facts.workspace.join("loop/../../outside/file"));
    tries.act("leave the folder", std::env::set_current_dir("..").and_then(|()| fs::write("outside/file", PLANTED)));
}

fn links(facts: &Facts, tries: &mut Tries) {
    let make = |name: &str, target: &Path| symlink(target, facts.workspace.join(name));
    tries.act("link to a folder", make("a", &facts.outside));
    tries.act("link to a file", make("b", &facts.outside.join("file")));
    tries.act("relative link", make("c", Path::new("../outside")));
    tries.act("link to a link", make("d", Path::new("c/../outside/file")));
    tries.act("link to nothing", make("e", &facts.outside.join("made")));
    for path in ["a/file", "a/new", "b", "c/file", "d", "e", "a/folder/inner"] {
        tries.write(facts.workspace.join(path));
    }
    let _ = std::env::set_current_dir(facts.workspace.join("a"));
    tries.write("file");
}

fn link_then_tool(scene: &mut Scene<'_>) -> Outcome {
    let first = match scene.attempt() {
        Ok(heard) => heard,
        Err(error) => return Outcome::Untried(error.to_string()),
    };
    if first.worked().is_empty() {
        return Outcome::Untried("the links could not be made".to_owned());
    }
    for patch in [
        "*** Begin Patch\n*** Add File: way-out/made-by-tool\n+planted\n*** End Patch",
        "*** Begin Patch\n*** Update File: way-to-file\n@@\n-outside\n+planted\n*** End Patch",
        "*** Begin Patch\n*** Add File: way-home/.bash_login\n+planted\n*** End Patch",
        "*** Begin Patch\n*** Delete File: way-out/program\n*** End Patch",
    ] {
        let answer = match scene.worker(&Request::ApplyPatch { patch: patch.to_owned() }) {
            Ok(heard) => heard,
            Err(error) => return Outcome::Untried(error.to_string()),
        };
        if serde_json::from_str::<Reply>(&answer.text).is_err() {
            return Outcome::Untried(format!("the file tool did not answer: {}", answer.text));
        }
    }
    Outcome::Refused
}

fn race(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    let made = fs::create_dir(at("race")).and_then(|()| symlink(&facts.outside, at("race-link")));
    tries.act("prepare", made);
    let (race, link) = (at("race"), at("race-link"));
    let swapper = match sys::fork() {
        Ok(sys::Fork::Child) => {
            let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
            let end = Instant::now() + Duration::from_millis(250);
            while Instant::now() < end {
                let _ = nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &race, nix::fcntl::AT_FDCWD, &link, flags);
            }
            sys::exit_now(0)
        }
        Ok(sys::Fork::Parent(child)) => child,
        Err(error) => {
            tries.act("fork", Err::<(), _>(error));
            return;
        }
    };
    let end = Instant::now() + Duration::from_millis(200);
    let mut rounds = 0;
    while Instant::now() < end {
        let _ = fs::write(at("race/raced"), PLANTED);
        rounds += 1;
    }
    let _ = nix::sys::wait::waitpid(swapper, None);
    tries.report("races", Ok(rounds));
}

fn renames(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    let _ = fs::write(at("mine"), PLANTED);
    tries.act("file out", fs::rename(at("mine"), facts.outside.join("mine")));
    tries.act("file out, over another", fs::rename(at("src/main.c"), facts.outside.join("file")));
    tries.act("folder out", fs::rename(at("sub"), facts.outside.join("sub")));
    tries.act("file in", fs::rename(facts.outside.join("program"), at("program")));
    let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
    let here = nix::fcntl::AT_FDCWD;
    let exchanged = nix::fcntl::renameat2(here, &at("README.md"), here, &facts.outside.join("folder"), flags);
    tries.act("exchange", exchanged.map_err(io::Error::from));
}

fn hard_links(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.workspace.join(name);
    tries.act("in", fs::hard_link(facts.outside.join("file"), at("alias")));
    tries.write(at("alias"));
    tries.act("out", fs::hard_link(at("README.md"), facts.outside.join("alias")));
    let descriptor = fs::File::open(facts.outside.join("program")).map(|file| {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flag = nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW;
        let here = nix::fcntl::AT_FDCWD;
        nix::unistd::linkat(here, path.as_str(), here, &at("alias-of-program"), flag).map_err(io::Error::from)
    });
    tries.act("in, by descriptor", descriptor.and_then(|linked| linked));
    tries.write(at("alias-of-program"));
}

fn unnamed(facts: &Facts, tries: &mut Tries) {
    let file = fs::OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(&facts.workspace);
    let linked = file.and_then(|mut file| {
        file.write_all(PLANTED.as_bytes())?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let here = nix::fcntl::AT_FDCWD;
        nix::unistd::linkat(here, path.as_str(), here, &facts.outside.join("named"), nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW)
            .map_err(io::Error::from)
    });
    tries.act("name it outside", linked);
}

fn proc_aliases(facts: &Facts, tries: &mut Tries) {
    let outside = facts.outside.display();
    let mut processes: Vec<String> = ["self", "thread-self", "1"].map(str::to_owned).to_vec();
    processes.extend([facts.agent, facts.victim, facts.launcher, nix::unistd::getppid().as_raw()].map(|pid| pid.to_string()));
    for process in processes {
        tries.write(format!("/proc/{process}/root{outside}/file"));
        tries.write(format!("/proc/{process}/root{outside}/new"));
        tries.write(format!("/proc/{process}/cwd/../outside/file"));
        for descriptor in 3..12 {
            let path = format!("/proc/{process}/fd/{descriptor}/../outside/file");
            if fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(PLANTED.as_bytes())).is_ok() {
                tries.report(&path, Ok("written"));
            }
        }
    }
}

fn mounts(facts: &Facts, tries: &mut Tries) {
    let outside = facts.outside.display().to_string();
    let place = facts.workspace.join("sub").display().to_string();
    for namespaces in [libc::CLONE_NEWUSER | libc::CLONE_NEWNS, libc::CLONE_NEWNS, 0] {
        tries.risky(&format!("namespaces {namespaces:#x}"), || {
            if namespaces != 0 {
                let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
                sys::attempt(libc::SYS_unshare, vec![Number(i64::from(namespaces))])?;
                let _ = fs::write("/proc/self/setgroups", "deny");
                let _ = fs::write("/proc/self/uid_map", format!("{user} {user} 1"));
                let _ = fs::write("/proc/self/gid_map", format!("{group} {group} 1"));
            }
            let bound = sys::attempt(libc::SYS_mount, vec![Text(&outside), Text(&place), Null, Number(libc::MS_BIND as i64), Null]);
            let tree = || sys::attempt(libc::SYS_open_tree, vec![Number(HERE), Text(&outside), Number(i64::from(libc::OPEN_TREE_CLONE))]);
            let moved = |from: i64| sys::attempt(libc::SYS_move_mount, vec![Number(from), Text(""), Number(HERE), Text(&place), Number(4)]);
            bound.or_else(|_| tree().and_then(moved))?;
            fs::write(format!("{place}/mounted"), PLANTED)?;
            Ok("written through a mount".to_owned())
        });
    }
    tries.risky("a new mount of an old file system", || {
        sys::attempt(libc::SYS_fsopen, vec![Text("tmpfs"), Number(0)])?;
        sys::attempt(libc::SYS_umount2, vec![Text(&place), Number(i64::from(libc::MNT_DETACH))])?;
        Ok("unmounted".to_owned())
    });
}

fn file_handle(facts: &Facts, tries: &mut Tries) {
    let path = facts.outside.join("file").display().to_string();
    let mut handle = [0u8; 256];
    handle[..4].copy_from_slice(&128u32.to_ne_bytes());
    let mut mount = [0u8; 4];
    let named =
        sys::attempt(libc::SYS_name_to_handle_at, vec![Number(HERE), Text(&path), Bytes(&mut handle), Bytes(&mut mount), Number(0)]);
    tries.act("take the handle", named);
    let folder = fs::File::open(&facts.workspace);
    let opened = folder.and_then(|folder| {
        let flags = i64::from(libc::O_WRONLY | libc::O_APPEND);
        sys::attempt(libc::SYS_open_by_handle_at, vec![Number(i64::from(folder.as_raw_fd())), Bytes(&mut handle), Number(flags)])
    });
    let written =
        opened.and_then(|number| sys::own(i32::try_from(number).unwrap_or(-1))).and_then(|file| fs::File::from(file).write_all(b"x"));
    tries.act("open it by the handle", written);
}

fn modes(facts: &Facts, tries: &mut Tries) {
    let path = facts.outside.join("program");
    tries.act("chmod", fs::set_permissions(&path, fs::Permissions::from_mode(0o777)));
    let opened = fs::File::open(&path).and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o755)));
    tries.act("fchmod", opened);
    let text = path.display().to_string();
    tries.call("fchmodat", libc::SYS_fchmodat, vec![Number(HERE), Text(&text), Number(0o700)]);
    tries.call("fchmodat2", sys::SYS_FCHMODAT2, vec![Number(HERE), Text(&text), Number(0o711), Number(0)]);
    let link = facts.workspace.join("link-out/program").display().to_string();
    tries.call("fchmodat through a link", libc::SYS_fchmodat, vec![Number(HERE), Text(&link), Number(0o701)]);
}

fn attributes(facts: &Facts, tries: &mut Tries) {
    let text = facts.outside.join("file").display().to_string();
    let mut value = *b"x";
    tries.call("user attribute", libc::SYS_lsetxattr, vec![Text(&text), Text("user.selftest"), Bytes(&mut value), Number(1), Number(0)]);
    // posix_acl_xattr_header and four entries: user::rw-, group::rw-, mask::rw-, other::rw-.
    let mut list = Vec::from(2u32.to_ne_bytes());
    for tag in [1u16, 4, 0x10, 0x20] {
        list.extend(tag.to_ne_bytes());
        list.extend(6u16.to_ne_bytes());
        list.extend(u32::MAX.to_ne_bytes());
    }
    let length = i64::try_from(list.len()).unwrap_or(0);
    let arguments = vec![Text(&text), Text("system.posix_acl_access"), Bytes(&mut list), Number(length), Number(0)];
    tries.call("access list", libc::SYS_lsetxattr, arguments);
    if let Ok(file) = fs::File::open(&text) {
        let arguments = vec![Number(i64::from(file.as_raw_fd())), Text("user.other"), Bytes(&mut value), Number(1), Number(0)];
        tries.call("user attribute by descriptor", libc::SYS_fsetxattr, arguments);
    }
}

fn flags(facts: &Facts, tries: &mut Tries) {
    const FS_NODUMP_FL: u32 = 0x40;
    let path = facts.outside.join("file");
    if let Ok(file) = fs::File::open(&path) {
        let mut value = FS_NODUMP_FL.to_ne_bytes();
        tries.call(
            "chattr +d",
            libc::SYS_ioctl,
            vec![Number(i64::from(file.as_raw_fd())), Number(sys::FS_IOC_SETFLAGS), Bytes(&mut value)],
        );
    } else {
        tries.act("open it", Err::<(), _>(io::Error::other("it is not there")));
    }
    // struct file_attr: fa_xflags (FS_XFLAG_NODUMP), then extent size, extents, project, cow extent size.
    let mut value = [0u8; 24];
    value[0] = 0x80;
    let text = path.display().to_string();
    tries.call("file_setattr", sys::SYS_FILE_SETATTR, vec![Number(HERE), Text(&text), Bytes(&mut value), Number(24), Number(0)]);
}

fn tree(facts: &Facts, tries: &mut Tries) {
    let at = |name: &str| facts.outside.join(name);
    tries.act("truncate", nix::unistd::truncate(&at("file"), 0).map_err(io::Error::from));
    tries.act("make a folder", fs::create_dir(at("made")));
    tries.act("make a link", symlink("file", at("made-link")));
    tries.act("make a pipe", nix::unistd::mkfifo(&at("made-pipe"), nix::sys::stat::Mode::S_IRWXU).map_err(io::Error::from));
    tries.act("bind a socket", std::os::unix::net::UnixListener::bind(at("made-socket")));
    tries.act("remove a folder", fs::remove_dir(at("empty")));
    tries.act("remove a tree", fs::remove_dir_all(at("folder")));
    tries.act("move", fs::rename(at("program"), at("moved")));
}

fn planted_temporary(facts: &Facts, tries: &mut Tries) {
    let user = nix::unistd::geteuid();
    for name in ["portcullis", "portcullis.sock", "claude/response.md", "response.md", "tmp/x", "shared"] {
        for folder in ["/tmp".to_owned(), "/var/tmp".to_owned(), format!("/tmp/{user}"), "/run/portcullis/outputs".to_owned()] {
            let place = Path::new(&folder).join(name);
            if let Some(parent) = place.parent() {
                let _ = fs::create_dir_all(parent);
            }
            tries.act(&format!("plant {}", place.display()), symlink(facts.outside.join("file"), &place));
        }
    }
    for folder in ["tmp", "home", "outputs"] {
        tries.write(facts.private.join(folder).join("planted"));
        tries.act("replace a private folder", fs::rename(facts.private.join(folder), facts.private.join("gone")));
    }
    // Whoever now writes to a planted place from inside gets no further than the attacker.
    let _ = read(Path::new("/tmp/portcullis"));
    tries.write("/tmp/portcullis");
}

fn set_id(facts: &Facts, tries: &mut Tries) {
    let path = facts.workspace.join("src/main.c");
    tries.act("chmod u+s", fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)));
    tries.act("chmod g+s", fs::set_permissions(&path, fs::Permissions::from_mode(0o2755)));
    let made = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o6755).open(facts.workspace.join("made"));
    tries.act("open with mode 6755", made);
    let text = path.display().to_string();
    tries.call("fchmodat2", sys::SYS_FCHMODAT2, vec![Number(HERE), Text(&text), Number(0o4755), Number(0)]);
    let node = i64::from(libc::S_IFREG | 0o6755);
    tries.call("mknod", libc::SYS_mknodat, vec![Number(HERE), Text("node"), Number(node), Number(0)]);
}

fn core_dump(facts: &Facts, tries: &mut Tries) {
    let _ = std::env::set_current_dir(&facts.workspace);
    tries.risky("abort", || {
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, u64::MAX, u64::MAX);
        std::process::abort()
    });
    let cores = fs::read_dir(&facts.workspace).into_iter().flatten().flatten();
    for core in cores.filter(|entry| entry.file_name().to_string_lossy().starts_with("core")) {
        let dumped = core.metadata().map(|metadata| metadata.len()).unwrap_or(0) > 1;
        if dumped {
            let _ = symlink("a core file", facts.workspace.join(".vscode-core"));
        }
        tries.report("a core file", Ok(core.path().display()));
    }
}
