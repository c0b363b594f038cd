//! `apply_patch`: what it changes, and that a patch which fails has changed nothing.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use portcullis::worker::{Access, Change, ChangeKind, ErrorKind, Reply, Request, serve};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{make_fifo, ok, patch, refused, snapshot, tree};

#[test]
fn a_patch_adds_changes_moves_and_deletes_in_one_go() {
    let dir = tree(&[("m", "a\nb\nc\n"), ("old", "x\ny\n"), ("gone", "1\n2\n3"), ("run.sh", "#!/bin/sh\nold\n")]);
    fs::set_permissions(dir.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.path().join("m"), fs::Permissions::from_mode(0o666)).unwrap();
    let request = patch(concat!(
        "*** Add File: new/dir/f\n+hello\n*** Update File: m\n@@\n a\n-b\n+B\n+BB\n*** Update File: old\n*** Move to: sub/new\n@@\n-x\n+X\n",
        "*** Delete File: gone\n*** Update File: run.sh\n@@\n-old\n+new\n*** Update File: ./run.sh/../same\n@@\n a\n"
    ));
    fs::write(dir.path().join("same"), "  a\n").unwrap();
    fs::remove_file(dir.path().join("same")).unwrap();
    let (kind, _) = refused(&dir, &request);
    assert_eq!(kind, ErrorKind::WrongKind, "run.sh is no directory to go up from");
    let Request::ApplyPatch { patch: text } = request else { panic!() };
    fs::write(dir.path().join("same"), "  a\n").unwrap();
    let Reply::Ok { text, changes, .. } = serve(&Request::ApplyPatch { patch: text.replace("./run.sh/../same", "same") }, dir.path())
    else {
        panic!()
    };
    assert_eq!(
        text,
        concat!(
            "A new/dir/f (+1)\nM m (+2 -1)\nR old -> sub/new (+1 -1)\nD gone (-3)\nM run.sh (+1 -1)\n",
            "= same (unchanged: the patch changes nothing in it)\n    line 1: found with indentation ignored (patch line 21)\n"
        )
    );
    assert_eq!(changes.len(), 5);
    assert_eq!(
        changes[2],
        Change { path: "sub/new".into(), kind: ChangeKind::Moved { from: "old".into() }, added_lines: 1, removed_lines: 1 }
    );
    let content = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!((content("new/dir/f"), content("m"), content("sub/new")), ("hello\n".into(), "a\nB\nBB\nc\n".into(), "X\ny\n".into()));
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("run.sh"), mode("m")), (0o755, 0o666), "modes are kept, whatever the umask");
    assert_eq!(mode("new/dir/f") & !0o644, 0);
    let names: Vec<String> = snapshot(dir.path()).into_keys().collect();
    assert_eq!(names, ["m", "new", "new/dir", "new/dir/f", "run.sh", "same", "sub", "sub/new"], "no temporary file is left");
}

#[test]
fn line_endings_and_the_missing_last_one_are_kept() {
    for (before, body, after) in [
        ("a\r\nb\r\n", "@@\n a\n-b\n+c\n+d\n", "a\r\nc\r\nd\r\n"),
        ("a\r\nb\r\n", "@@\n-b\r\n+c\r\n", "a\r\nc\r\n"),
        ("a\nb", "@@\n-b\n+c\n", "a\nc"),
        ("a\nb", "@@\n b\n+c\n", "a\nb\nc"),
        ("a\r\nb", "@@\n b\n+c\n", "a\r\nb\nc"),
        ("a\r\nb\r\nc", "@@\n c\n+d\n", "a\r\nb\r\nc\r\nd"),
        ("a\r\nb\n", "@@\n-b\n+c\n", "a\r\nc\n"),
        ("", "@@\n+a\n", "a\n"),
        ("a\n", "@@\n-a\n", ""),
        ("  a \n", "@@\n a\n+b\n", "  a \nb\n"),
    ] {
        let dir = tree(&[("f", before)]);
        ok(&dir, &patch(&format!("*** Update File: f\n{body}")));
        assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), after, "{before:?} {body:?}");
    }
    let dir = tree(&[]);
    fs::write(dir.path().join("f"), b"caf\xe9\nx\nna\xefve\n").unwrap();
    ok(&dir, &patch("*** Update File: f\n@@\n caf\u{fffd}\n-x\n+y\n"));
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"caf\xe9\ny\nna\xefve\n", "bytes that are no UTF-8 stay as they are");
}

#[test]
fn a_file_with_other_names_is_replaced_under_the_one_that_was_given() {
    let dir = tree(&[("a", "old\n")]);
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    ok(&dir, &patch("*** Update File: a\n@@\n-old\n+new\n"));
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "old\n");
}

#[test]
fn adding_a_file_that_has_that_content_already_changes_nothing() {
    let dir = tree(&[("a", "x\n")]);
    let before = snapshot(dir.path());
    assert_eq!(ok(&dir, &patch("*** Add File: a\n+x\n")).0, "= a (unchanged: it has this content already)\n");
    assert_eq!(snapshot(dir.path()), before);
}

/// Sections that must fail, each with the class of its error and a part of its message.
const FAILING: &[(&str, ErrorKind, &str)] = &[
    ("*** Update File: none\n@@\n-a\n+b\n", ErrorKind::NotFound, "none: cannot change it: no such file or directory"),
    ("*** Delete File: none\n", ErrorKind::NotFound, "cannot delete it"),
    ("*** Delete File: dir\n", ErrorKind::WrongKind, "dir: this is a directory"),
    ("*** Update File: dir\n@@\n-a\n", ErrorKind::WrongKind, "dir: this is a directory"),
    ("*** Add File: dir\n+x\n", ErrorKind::WrongKind, "dir: this is a directory"),
    ("*** Add File: taken\n+other\n", ErrorKind::Conflict, "it exists already, with other content"),
    ("*** Add File: taken/below\n+x\n", ErrorKind::WrongKind, "taken/below: cannot create it: not a directory"),
    ("*** Add File: no/../x\n+x\n", ErrorKind::NotFound, "no/../x: cannot create its directory"),
    ("*** Add File: fresh\n+x\n*** Add File: fresh/below\n+x\n", ErrorKind::Conflict, "fresh: cannot create it: file exists"),
    ("*** Update File: taken\n*** Move to: dir/in\n", ErrorKind::Conflict, "dir/in: it exists already, so nothing can be moved there"),
    ("*** Update File: taken\n@@\n-absent\n+b\n", ErrorKind::Conflict, "hunk 1"),
    ("*** Update File: link\n@@\n-taken\n+b\n", ErrorKind::WrongKind, "link: this is a symbolic link; name the file"),
    ("*** Delete File: link\n", ErrorKind::WrongKind, "this is a symbolic link"),
    ("*** Add File: dangling\n+x\n", ErrorKind::WrongKind, "this is a symbolic link"),
    ("*** Update File: fifo\n@@\n-a\n", ErrorKind::WrongKind, "this is a FIFO"),
    ("*** Update File: taken\n@@\n-taken\n+b\n*** Update File: linkdir/../taken\n@@\n-taken\n+c\n", ErrorKind::Invalid, "named again"),
    ("*** Update File: dir/in\n@@\n-in\n+b\n*** Update File: linkdir/in\n@@\n-in\n+c\n", ErrorKind::Conflict, "the same file as dir/in"),
    ("*** Add File: large\n+x\n*** Delete File: huge\n", ErrorKind::TooLarge, "huge: 16777217 bytes"),
    ("*** Add File: ~/x\n+x\n", ErrorKind::Invalid, "use an absolute path"),
];

fn battlefield() -> TempDir {
    let dir = tree(&[("taken", "taken\n"), ("dir/in", "in\n"), ("m1", "a\nb\n"), ("m2", "a\nb\n"), ("d", "d\n"), ("mv", "mv\n")]);
    symlink("taken", dir.path().join("link")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    symlink("dir", dir.path().join("linkdir")).unwrap();
    make_fifo(&dir.path().join("fifo"));
    fs::File::create(dir.path().join("huge")).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    dir
}

/// Sections that succeed alone.
const WORKING: &[&str] = &[
    "*** Update File: m1\n@@\n-a\n+A\n",
    "*** Add File: deep/er/new\n+x\n",
    "*** Delete File: d\n",
    "*** Update File: mv\n*** Move to: other/mv\n@@\n-mv\n+MV\n",
    "*** Update File: m2\n@@\n-b\n+B\n",
];

#[test]
fn a_patch_with_one_bad_section_changes_nothing_wherever_it_stands() {
    let dir = battlefield();
    // `huge` has no content to speak of, and reading 16 MiB for every comparison would be slow.
    let snapshot_without_huge = |dir: &TempDir| {
        let huge = dir.path().join("huge");
        fs::rename(&huge, dir.path().with_extension("huge")).unwrap();
        let snapshot = snapshot(dir.path());
        fs::rename(dir.path().with_extension("huge"), &huge).unwrap();
        snapshot
    };
    let before = snapshot_without_huge(&dir);
    for (bad, kind, part) in FAILING {
        for place in 0..=WORKING.len() {
            let body = format!("{}{bad}{}", WORKING[..place].concat(), WORKING[place..].concat());
            let reply = serve(&patch(&body), dir.path());
            let Reply::Refused { kind: found, message, access, .. } = reply else { panic!("{bad}: {reply:?}") };
            assert!(found == *kind && message.contains(part), "{bad}: {found:?} {message}");
            assert!(access == Access::Write || found == ErrorKind::Invalid, "{bad}");
            assert_eq!(snapshot_without_huge(&dir), before, "{bad} at {place}");
        }
    }
    ok(&dir, &patch(&WORKING.concat()));
    assert_ne!(snapshot_without_huge(&dir), before, "without the bad section the same patch works");
}

#[test]
fn a_read_only_file_is_refused_though_its_directory_would_let_it_be_replaced() {
    let dir = tree(&[("a", "a\n")]);
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o444)).unwrap();
    if fs::File::options().write(true).open(dir.path().join("a")).is_ok() {
        println!("skipped: permission bits do not bind this user");
        return;
    }
    for section in ["*** Update File: a\n@@\n-a\n+b\n", "*** Delete File: a\n"] {
        let Reply::Refused { kind, errno, access, .. } = serve(&patch(section), dir.path()) else { panic!("{section}") };
        assert_eq!((kind, errno, access), (ErrorKind::Denied, Some(libc::EACCES), Access::Write));
    }
}

#[test]
fn a_file_in_a_linked_directory_can_be_patched() {
    let dir = battlefield();
    assert_eq!(ok(&dir, &patch("*** Update File: linkdir/in\n@@\n-in\n+out\n")).0, "M linkdir/in (+1 -1)\n");
    assert_eq!(fs::read_to_string(dir.path().join("dir/in")).unwrap(), "out\n");
    assert!(fs::symlink_metadata(dir.path().join("linkdir")).unwrap().is_symlink());
}

#[test]
fn a_full_disk_takes_the_patch_back() {
    let dir = tree(&[]);
    let flags = nix::mount::MsFlags::MS_NOSUID;
    if let Err(error) = nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=64k")) {
        println!("skipped: a small tmpfs cannot be mounted ({error})");
        return;
    }
    fs::write(dir.path().join("m"), "a\n").unwrap();
    let before = snapshot(dir.path());
    let body =
        format!("*** Update File: m\n@@\n-a\n+b\n*** Add File: x/y/fits\n+x\n*** Add File: z\n{}", "+xxxxxxxxxxxxxxx\n".repeat(8000));
    let reply = serve(&patch(&body), dir.path());
    let after = snapshot(dir.path());
    nix::mount::umount(dir.path()).unwrap();
    let Reply::Refused { kind, errno, path, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((kind, errno, path.as_deref()), (ErrorKind::NoSpace, Some(libc::ENOSPC), Some("z")));
    assert_eq!(after, before);
}

#[test]
fn a_read_only_mount_below_the_tree_refuses_the_whole_patch() {
    use nix::mount::{MsFlags, mount, umount};
    let dir = tree(&[("a", "a\n"), ("guarded/g", "g\n"), ("pinned", "p\n")]);
    let (guarded, pinned) = (dir.path().join("guarded"), dir.path().join("pinned"));
    let bind = |path: &Path| mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let Err(error) = bind(&guarded) {
        println!("skipped: nothing can be mounted ({error})");
        return;
    }
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &guarded, None::<&str>, again, None::<&str>).unwrap();
    bind(&pinned).unwrap();
    let before = snapshot(dir.path());
    let change_a = "*** Update File: a\n@@\n-a\n+b\n";
    let replies = [
        "*** Add File: guarded/new\n+x\n",
        "*** Update File: guarded/g\n@@\n-g\n+h\n",
        "*** Delete File: guarded/g\n",
        "*** Update File: pinned\n@@\n-p\n+q\n",
        "*** Delete File: pinned\n",
    ]
    .map(|section| serve(&patch(&format!("{change_a}{section}")), dir.path()));
    let after = snapshot(dir.path());
    umount(&pinned).unwrap();
    umount(&guarded).unwrap();
    let expected = [libc::EROFS, libc::EROFS, libc::EROFS, libc::EBUSY, libc::EBUSY];
    for (reply, expected) in replies.into_iter().zip(expected) {
        let Reply::Refused { kind, errno, access, message, .. } = reply else { panic!("{reply:?}") };
        assert_eq!((kind, errno, access), (ErrorKind::Denied, Some(expected), Access::Write), "{message}");
    }
    assert_eq!(after, before);
}

/// The patch that turns `old` into `new`, as a model would write it.
fn patch_between(old: &[String], new: &[String], radius: usize) -> String {
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let new: Vec<&str> = new.iter().map(String::as_str).collect();
    let diff = similar::TextDiff::from_slices(&old, &new);
    let mut text = String::from("*** Update File: f\n");
    for group in diff.grouped_ops(radius) {
        text.push_str("@@\n");
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            writeln!(text, "{}{}", change.tag(), change.value()).unwrap();
        }
    }
    text
}

#[derive(Debug, Clone)]
enum Edit {
    Keep,
    Remove,
    Replace(String),
    InsertBefore(String),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => Just(Edit::Keep),
        1 => Just(Edit::Remove),
        1 => "[ +*@\\-\u{e4}a-c]{0,6}".prop_map(Edit::Replace),
        1 => "[ +*@\\-\u{e4}a-c]{0,6}".prop_map(Edit::InsertBefore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_patch_made_from_random_edits_gives_exactly_the_edited_file(
        lines in prop::collection::vec(("[ +*@\\-\u{e4}a-c]{0,4}", edit()), 1..40),
        radius in 1..4_usize,
        crlf in any::<bool>(),
        final_newline in any::<bool>(),
    ) {
        // The number makes every old line unique: with equal lines a hunk may rightly go to an earlier place.
        let old: Vec<String> = lines.iter().enumerate().map(|(n, (text, _))| format!("{text}{n}.")).collect();
        let mut new = Vec::new();
        for (line, (_, edit)) in old.iter().zip(&lines) {
            match edit {
                Edit::Keep => new.push(line.clone()),
                Edit::Remove => {}
                Edit::Replace(text) => new.push(text.clone()),
                Edit::InsertBefore(text) => new.extend([text.clone(), line.clone()]),
            }
        }
        let join = |lines: &[String]| {
            let ending = if crlf { "\r\n" } else { "\n" };
            let mut text = lines.join(ending);
            if final_newline && !lines.is_empty() {
                text.push_str(ending);
            }
            text
        };
        // A file of one line without line feed shows no ending to go by.
        prop_assume!(final_newline || !crlf || old.len() > 2);
        let dir = tree(&[("f", &join(&old))]);
        let body = patch_between(&old, &new, radius);
        if old == new {
            prop_assert_eq!(refused(&dir, &patch(&body)).0, ErrorKind::Invalid);
        } else {
            ok(&dir, &patch(&body));
        }
        prop_assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), join(&new));
    }

    #[test]
    fn a_random_patch_is_applied_or_refused_and_never_half_applied(
        sections in prop::collection::vec(prop::sample::select(
            WORKING.iter().copied().chain(FAILING.iter().map(|(text, ..)| *text)).filter(|text| !text.contains("huge")).collect::<Vec<_>>()
        ), 1..6),
    ) {
        let dir = battlefield();
        fs::remove_file(dir.path().join("huge")).unwrap();
        let before = snapshot(dir.path());
        match serve(&patch(&sections.concat()), dir.path()) {
            Reply::Refused { .. } => prop_assert_eq!(snapshot(dir.path()), before),
            Reply::Ok { changes, .. } => {
                prop_assert_eq!(changes.len(), sections.len());
                let left = snapshot(dir.path()).into_keys().filter(|name| name.contains(".portcullis")).count();
                prop_assert_eq!(left, 0);
            }
            Reply::Image(_) => prop_assert!(false, "an image, from a patch"),
        }
    }
}
