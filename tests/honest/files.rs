//! Files of every kind, as the everyday tools make, move, copy and pack them.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
};

use crate::{
    job::{job, lacks, python},
    support::Host,
};

#[test]
fn files_are_moved_linked_and_removed_across_folders() {
    let host = Host::without_git();
    let script = "mkdir -p a/b c 'with space'; echo one > a/b/file; mv a/b/file c/; mv c/file 'with space/'; ln 'with space/file' hard; ln -s hard soft; \
                  readlink -f soft; mv a moved; rmdir moved/b; rm -r moved; mkdir d; mv c d/; mv -T d e; cp -l hard e/c/third; ln -sfn e link; rm link; \
                  touch -- '-dash'; rm -- -dash; mktemp -p . made.XXXX; mktemp -d; mktemp";
    job(&host, script);
    assert_eq!(host.read("e/c/third").as_deref(), Some("one\n"));
    assert_eq!(fs::metadata(host.workspace.join("hard")).unwrap().nlink(), 3);
    assert_eq!(fs::read_link(host.workspace.join("soft")).unwrap().to_str(), Some("hard"));
    assert!(!host.has("a") && !host.has("moved") && !host.has("link"));
}

#[test]
fn modes_owners_and_times_are_kept_and_set() {
    let host = Host::without_git();
    let script = "echo x > plain; (umask 027; echo x > masked); mkdir folder; chmod +x plain; touch -d '2020-02-02 02:02:02 UTC' plain; \
                  install -m 750 plain tool; install -d -m 700 private; cp -a plain kept; cp -p plain kept2; chown $(id -u):$(id -g) plain; \
                  chgrp $(id -g) plain; mkdir -p all/deep; touch all/deep/file; chmod -R go-rwx all; chmod -R u+rwX all; cp -a /usr/share/doc/bash copied; touch -r plain masked; \
                  python3 -c 'import shutil; shutil.copytree(\"/usr/share/doc/bash\", \"tree\"); shutil.copystat(\"plain\", \"folder\")'";
    job(&host, script);
    let about = |name: &str| fs::metadata(host.workspace.join(name)).unwrap();
    for (name, mode) in [("plain", 0o755), ("masked", 0o640), ("tool", 0o750), ("private", 0o700), ("kept", 0o755)] {
        assert_eq!(about(name).permissions().mode() & 0o7777, mode, "{name}");
        assert_eq!(about(name).uid(), nix::unistd::getuid().as_raw(), "{name}");
        assert_eq!(about(name).gid(), nix::unistd::getgid().as_raw(), "{name}");
    }
    for name in ["kept", "kept2", "masked", "folder"] {
        assert_eq!(about(name).mtime(), 1_580_608_922, "{name}");
    }
    assert!(host.has("copied/copyright") && host.has("tree/copyright"));
}

#[test]
fn archives_are_packed_and_unpacked() {
    let host = Host::without_git();
    if lacks("honest::files::archives_are_packed_and_unpacked", &["zip", "unzip", "bzip2", "xz", "cpio"]) {
        return;
    }
    let script = "mkdir -p in/deep out; echo one > in/deep/file; chmod 741 in/deep/file; touch -d @1000000000 in/deep/file; ln -s deep/file in/link; \
                  tar cpf all.tar in; for z in z j J; do tar c${z}f a.$z in; tar tf a.$z > /dev/null; done; tar xpf all.tar -C out; \
                  tar --sort=name --owner=0 --group=0 --mtime=@0 -cf same.tar in; mkdir again; tar xf same.tar -C again --no-same-owner; \
                  zip -qry all.zip in; unzip -q all.zip -d unzipped; find in | cpio -o --quiet > all.cpio; mkdir c; (cd c; cpio -id --quiet < ../all.cpio); \
                  gzip -k in/deep/file; gunzip -c in/deep/file.gz; python3 -m zipfile -e all.zip pythons";
    job(&host, script);
    for name in ["out/in", "unzipped/in", "c/in"] {
        let metadata = fs::metadata(host.workspace.join(name).join("deep/file")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o741, "{name}");
        assert_eq!(host.read(&format!("{name}/link")).as_deref(), Some("one\n"), "{name}");
    }
    assert_eq!(fs::metadata(host.workspace.join("out/in/deep/file")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(host.read("pythons/in/deep/file").as_deref(), Some("one\n"));
}

#[test]
fn the_whole_workspace_is_copied_and_packed() {
    let host = Host::new();
    host.write("deep/er/file", "one\n");
    let script = "cp -a . /tmp/copy; git -C /tmp/copy add .; git -C /tmp/copy commit -qm 'in the copy'; tar cf /tmp/all.tar .; mkdir out; \
                  tar xf /tmp/all.tar -C out ./deep; grep -r one . | wc -l; find . -type f -print0 | xargs -0 cat > /dev/null; git add -A; \
                  git commit -qm all; git -C /tmp/copy bundle create -q $PWD/copy.bundle HEAD";
    job(&host, script);
    assert_eq!(host.read("out/deep/er/file").as_deref(), Some("one\n"));
    host.git(&["fetch", "-q", "copy.bundle", "HEAD"]);
    assert_eq!(host.git(&["show", "--stat=80", "--format=%s", "FETCH_HEAD"]).stdout.lines().next(), Some("in the copy"));
    let added = host.git(&["ls-files"]).stdout;
    assert_eq!(added, "deep/er/file\nfile\nout/deep/er/file\n", "what stands in for absent places is no part of the work");
}

#[test]
fn trees_are_synchronised() {
    let host = Host::without_git();
    if lacks("honest::files::trees_are_synchronised", &["rsync"]) {
        return;
    }
    let script = "mkdir -p from/deep to; echo one > from/deep/file; ln -s deep from/link; ln from/deep/file from/hard; touch to/stale; \
                  rsync -a --delete from/ to/; rsync -aHAX --inplace from/ all/; rsync -rc --existing from/ to/";
    job(&host, script);
    assert_eq!(host.read("to/link/file").as_deref(), Some("one\n"));
    assert!(!host.has("to/stale"));
    assert_eq!(fs::metadata(host.workspace.join("all/hard")).unwrap().nlink(), 2);
}

#[test]
fn files_are_edited_compared_and_patched_in_place() {
    let host = Host::without_git();
    let script = "printf 'b 2\\na 1\\n' > list; sed -i s/1/3/ list; perl -pi -e 's/2/4/' list; awk '{ print $2 }' list > second; sort -T . -o list list; \
                  cp list new; echo c >> new; ! diff -u list new > change; patch -s list < change; cmp list new; grep -rn 'a 3' .; sort -R list | wc -l; \
                  find . -name 'l*' -newer second -print0 | xargs -0 -P 4 -n 1 cat; seq 300000 | sort -r -S 1M -T . | tail -1; split -l 1 new part; \
                  cat partaa partab partac | tac | paste -s -d, > joined; truncate -s 0 second; tee copy < new > /dev/null; dd if=new of=dd bs=1 status=none; \
                  sha256sum list > sums; sha256sum -c --quiet sums; echo x | ed -s list <<< $'1s/a/A/\\nw\\nq' || sed -i s/a/A/ list";
    job(&host, script);
    assert_eq!(host.read("list").as_deref(), Some("A 3\nb 4\nc\n"));
    assert_eq!(host.read("joined").as_deref(), Some("c,b 4,a 3\n"));
}

#[test]
fn names_of_any_bytes_deep_paths_and_large_folders_are_worked_with() {
    let host = Host::without_git();
    let program = r#"
import os
open(b"odd \xff\xfe\n name", "w").write("odd")
os.rename(b"odd \xff\xfe\n name", b"odder \x01\xc3\xa4")
path = "deep"
for _ in range(15):
    path += "/" + "x" * 240
os.makedirs(path)
open(path + "/bottom", "w").write("bottom")
os.mkdir("large")
for number in range(3000):
    open(f"large/{number}", "w").close()
assert len(os.listdir("large")) == 3000
for number in range(0, 3000, 2):
    os.unlink(f"large/{number}")
"#;
    python(&host, program);
    assert!(fs::read_dir(&host.workspace).unwrap().any(|entry| entry.unwrap().file_name().as_bytes() == b"odder \x01\xc3\xa4"));
    assert_eq!(fs::read_dir(host.workspace.join("large")).unwrap().count(), 1500);
    let bottom = format!("deep/{}/bottom", vec!["x".repeat(240); 15].join("/"));
    assert_eq!(host.read(&bottom).as_deref(), Some("bottom"));
    job(&host, "ls -la > /dev/null; find large -type f | wc -l; rm -rf deep large");
    assert!(!host.has("deep") && !host.has("large"));
}

#[test]
fn files_with_holes_and_attributes_and_without_names_are_made() {
    let host = Host::without_git();
    let program = r#"
import ctypes, os
with open("sparse", "wb") as file:
    file.seek(64 << 20)
    file.write(b"end")
    os.posix_fallocate(file.fileno(), 0, 4096)
libc = ctypes.CDLL(None, use_errno=True)
nameless = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
os.write(nameless, b"named at last")
# AT_FDCWD, AT_SYMLINK_FOLLOW
assert libc.linkat(-100, b"/proc/self/fd/%d" % nameless, -100, b"named", 0x400) == 0, ctypes.get_errno()
os.mkfifo("pipe")
if os.fork() == 0:
    open("pipe", "w").write("through the pipe")
    os._exit(0)
assert open("pipe").read() == "through the pipe"
source, target = os.open("sparse", os.O_RDONLY), os.open("copy", os.O_CREAT | os.O_WRONLY)
assert os.copy_file_range(source, target, 4096) == 4096
assert os.sendfile(target, source, 0, 10) == 10
try:
    os.setxattr("named", "user.kind", b"honest")
    assert os.getxattr("named", "user.kind") == b"honest"
except OSError as error:
    print("no attributes:", error)
for fd in (target, os.open(".", os.O_RDONLY)):
    os.fsync(fd)
os.sync()
"#;
    python(&host, program);
    let sparse = fs::metadata(host.workspace.join("sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.blocks() < 1024), (67_108_867, true));
    assert_eq!(host.read("named").as_deref(), Some("named at last"));
    assert!(fs::metadata(host.workspace.join("pipe")).unwrap().file_type().is_fifo());
    job(
        &host,
        "cp --sparse=always sparse s2; cp --reflink=auto sparse s3; du -k s2; cp -a pipe pipe2; fallocate -l 1M full; fallocate -p -l 4096 full",
    );
    assert_eq!(fs::metadata(host.workspace.join("s2")).unwrap().len(), 67_108_867);
}

#[test]
fn attributes_of_files_are_set_and_copied() {
    let host = Host::without_git();
    if lacks("honest::files::attributes_of_files_are_set_and_copied", &["setfattr", "setfacl"]) {
        return;
    }
    host.write("probe", "");
    let supported = host.clean("setfattr").args(["-n", "user.x", "-v", "x"]).arg(host.workspace.join("probe")).status().unwrap().success();
    if !supported {
        return crate::support::skip(
            "honest::files::attributes_of_files_are_set_and_copied",
            "kernel: this file system has no user attributes",
        );
    }
    job(
        &host,
        "echo x > file; setfattr -n user.kind -v honest file; cp -a file copy; tar --xattrs -cf a.tar file; mkdir o; tar --xattrs -xf a.tar -C o; setfacl -m u::r file; getfacl file",
    );
    for name in ["copy", "o/file"] {
        let mut command = host.clean("getfattr");
        let output = command.args(["--only-values", "-n", "user.kind"]).arg(host.workspace.join(name)).output().unwrap();
        assert_eq!(output.stdout, b"honest", "{name}");
    }
}

#[test]
fn changes_in_a_folder_are_watched() {
    let host = Host::without_git();
    if lacks("honest::files::changes_in_a_folder_are_watched", &["inotifywait"]) {
        return;
    }
    let script = "mkdir watched; coproc inotifywait -q -m -t 10 -e create -e moved_to -e close_write --format '%e %f' watched; exec 3<&${COPROC[0]}; \
                  while ! grep -qs inotify /proc/$COPROC_PID/fdinfo/*; do sleep 0.05; done; \
                  echo x > watched/new; mv watched/new watched/newer; for i in 1 2 3; do read -t 10 -u 3 event; echo \"$event\"; done; kill $COPROC_PID";
    assert_eq!(job(&host, script), "CREATE new\nCLOSE_WRITE,CLOSE new\nMOVED_TO newer\n");
}
