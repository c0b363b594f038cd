//! Python with a virtual environment, offline.

use crate::{
    job::{job, python},
    support::{Ended, Host, skip},
};

#[test]
fn a_virtual_environment_is_made_and_a_wheel_installed_and_tested_in_it() {
    let host = Host::new();
    let test = "honest::python::a_virtual_environment_is_made_and_a_wheel_installed_and_tested_in_it";
    for module in ["ensurepip", "pytest"] {
        let imports = host.clean("python3").args(["-c", &format!("import {module}")]).output().unwrap();
        if !imports.status.success() {
            return skip(test, &format!("this Python has no `{module}`"));
        }
    }
    // A wheel is an archive with the package and three files about it (packaging.python.org, "Binary distribution format").
    python(
        &host,
        r#"
import zipfile
with zipfile.ZipFile("seven-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("seven/__init__.py", "def seven():\n    return 7\n\ndef main():\n    print(seven())\n")
    wheel.writestr("seven-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: seven\nVersion: 1.0\n")
    wheel.writestr("seven-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("seven-1.0.dist-info/entry_points.txt", "[console_scripts]\nseven = seven:main\n")
    wheel.writestr("seven-1.0.dist-info/RECORD", "")
"#,
    );
    host.write("test_seven.py", "import seven\n\ndef test_seven(tmp_path, capfd, monkeypatch):\n    (tmp_path / 'x').write_text('x')\n    seven.main()\n    assert capfd.readouterr().out == '7\\n'\n");
    job(&host, "python3 -m venv --system-site-packages environment; environment/bin/pip install -q --no-index --find-links . seven");
    let script = ". environment/bin/activate; seven; python -m pytest -q --junitxml=report.xml; python -m compileall -q environment/lib/python3*/site-packages/seven; pip uninstall -qy seven; \
                  ! python -c 'import seven' 2> /dev/null";
    let printed = job(&host, script);
    assert!(printed.starts_with("7\n") && printed.contains("1 passed"), "{printed}");
    assert!(host.read("report.xml").unwrap().contains("tests=\"1\""));
}

#[test]
fn the_standard_library_finds_what_it_needs() {
    let host = Host::without_git();
    let program = r#"
import ctypes, ctypes.util, curses, dbm, decimal, getpass, glob, hashlib, locale, logging.handlers, lzma, os, pathlib, platform, pwd, random
import secrets, shelve, shutil, ssl, subprocess, sys, sysconfig, tempfile, threading, time, timeit, uuid, zoneinfo
assert zoneinfo.ZoneInfo("Europe/Berlin")
assert pwd.getpwuid(os.getuid()).pw_name == getpass.getuser()
assert subprocess.run(["sh", "-c", "exit 3"], start_new_session=True).returncode == 3
assert subprocess.check_output("echo $0", shell=True, text=True).strip()
assert ctypes.CDLL(None).getpid() == os.getpid()
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(), tempfile.TemporaryFile():
    shelve.open(os.path.join(folder, "shelf"))["a"] = 1
ssl.create_default_context(), uuid.uuid1(), secrets.token_bytes(4), platform.platform(), platform.node()
handler = logging.handlers.RotatingFileHandler("log", maxBytes=10, backupCount=2)
for number in range(3):
    handler.emit(logging.LogRecord("a", 10, "a", 1, "a message of some length", (), None))
time.get_clock_info("monotonic"), os.getloadavg(), os.sched_getaffinity(0), shutil.disk_usage(".")
pathlib.Path("made").write_text("x")
pathlib.Path("made").rename("renamed")
os.replace("renamed", "file")
os.utime("file", (1, 1))
"#;
    python(&host, program);
    assert!(host.has("log.2"));
    let modified = std::fs::metadata(host.workspace.join("file")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&modified), 1);
}

#[test]
fn an_interpreters_own_caches_do_not_stand_in_the_way() {
    let host = Host::new();
    host.write("package/__init__.py", "value = 7\n");
    host.write("main.py", "import package\nprint(package.value)\n");
    assert_eq!(job(&host, "python3 main.py; python3 main.py"), "7\n7\n");
    assert!(host.has("package/__pycache__"));
    let mut outside = host.clean("python3");
    assert_eq!(Ended::from(outside.arg("main.py").current_dir(&host.workspace).output().unwrap()).done().stdout, "7\n");
}
