//! Bombs end, and what ended them is named.

use std::fs;

use crate::support::{Ended, Host, installed, skip};

#[test]
fn a_call_that_takes_too_much_memory_is_ended_and_told_so_and_reserving_is_not_taking() {
    const NAME: &str = "a_call_that_takes_too_much_memory_is_ended_and_told_so_and_reserving_is_not_taking";
    if !installed("python3") {
        return skip(NAME, "python3 is not installed");
    }
    let host = Host::new();
    let policy = host.policy("small", "[limits]\nmemory = \"128MiB\"");
    let python = |program: &str| Ended::from(host.sandbox_under(&policy, &["python3", "-c", program]).output().unwrap());
    let ended =
        python("import mmap, time; m = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | 0x4000); m[0] = 1; time.sleep(0.3); print('fine')");
    assert_eq!((ended.stdout.as_str(), ended.code), ("fine\n", 0), "{ended:#?}");
    for taking in [
        "x = b'x' * (300 << 20)",
        "import os\nfor i in range(4): os.fork() or [b'x' * (100 << 20), __import__('time').sleep(20)]\n__import__('time').sleep(20)",
        "import mmap\nm = mmap.mmap(-1, 300 << 20)\nfor i in range(0, 300 << 20, 4096): m[i] = 1\n__import__('time').sleep(20)",
    ] {
        let ended = python(&format!("{taking}\n__import__('time').sleep(20)\nprint('kept')"));
        assert!(ended.code == 124 && ended.stderr.contains("limit on memory") && !ended.stdout.contains("kept"), "{taking}: {ended:#?}");
    }
}

#[test]
fn a_call_that_fills_the_disk_is_ended_and_told_so() {
    let host = Host::new();
    // Others write to the disk too while the tests run.
    let policy = host.policy("little", "[limits]\ndisk = \"1GiB\"\nfile_size = \"8GiB\"");
    let ended = host.sh_under(&policy, "head -c 1048576 /dev/zero > some; sleep 0.3; echo fine");
    assert_eq!((ended.stdout.as_str(), ended.code), ("fine\n", 0), "{ended:#?}");
    if !installed("fallocate") {
        return skip("a_call_that_fills_the_disk_is_ended_and_told_so", "fallocate is not installed");
    }
    let ended = host.sh_under(&policy, "fallocate -l 3G big && sleep 20; echo kept");
    let full = ended.stderr.contains("No space left");
    assert!(full || ended.code == 124 && ended.stderr.contains("limit on disk") && !ended.stdout.contains("kept"), "{ended:#?}");
    fs::remove_file(host.workspace.join("big")).unwrap();
}
