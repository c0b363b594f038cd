//! The probe: tries steps inside a sandbox, one line of answer for each.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{FileExt as _, OpenOptionsExt as _},
            net::{SocketAddr as UnixAddress, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit};

use super::{
    canonical::digest,
    step::{Answer, Step},
};
use crate::sandbox::sys::{self, Fork};

/// Bytes of a file that are read.
const HEAD: u64 = 4096;
/// How long a connection is tried.
const PATIENCE: Duration = Duration::from_millis(500);
/// More descriptors than this are not opened one by one.
pub const MOST_FILES: u64 = 8192;

/// Tries all steps. To be called when the process is confined, and has one thread.
pub fn serve(steps: &[Step]) {
    for step in steps {
        let answer = match attempt(step) {
            Ok(text) => Answer::Worked(text),
            Err(error) => Answer::Refused(error.to_string()),
        };
        let Ok(mut line) = serde_json::to_vec(&answer) else { return };
        line.push(b'\n');
        let mut out = io::stdout().lock();
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn attempt(step: &Step) -> io::Result<String> {
    match step {
        Step::Read(path) => read(path),
        Step::Write(path, name) => write(path, name),
        Step::Make(path) => make(path).and_then(|()| fs::remove_file(path)).map(|()| "a file was made".to_owned()),
        Step::Move(path) => move_away(path),
        Step::Connect(port) => {
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), PATIENCE).map(|_| "connected".to_owned())
        }
        Step::Abstract(name) => {
            UnixAddress::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address)).map(|_| "connected".to_owned())
        }
        Step::Loopback => loopback(),
        Step::Status => status(),
        Step::Limit(which) => limit(which),
        Step::OpenFiles => Ok(open_files().to_string()),
        Step::FileSize(folder, limit) => file_size(folder, *limit),
        Step::Namespace => nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(io::Error::from).map(|()| "made".to_owned()),
        Step::LeaveBehind(name) => leave_behind(name),
        Step::Wait => {
            std::thread::sleep(Duration::from_secs(30));
            Ok("nothing ended it".to_owned())
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.is_dir() {
        return Ok(format!("a folder with {} entries", fs::read_dir(path)?.take(10_000).count()));
    }
    let mut bytes = Vec::new();
    // A FIFO would wait for its other end.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    file.take(HEAD).read_to_end(&mut bytes)?;
    Ok(format!("a file, first {} bytes sha256:{}", bytes.len(), digest(&bytes)))
}

fn write(path: &Path, name: &str) -> io::Result<String> {
    if !fs::metadata(path)?.is_dir() {
        let file = OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        return file.map(|_| "the file was opened for writing".to_owned());
    }
    let unnamed = OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(path);
    match unnamed.and_then(|mut file| file.write_all(b"portcullis\n")) {
        Ok(()) => Ok("a file without a name was written".to_owned()),
        Err(error) if [libc::EOPNOTSUPP, libc::EISDIR, libc::EINVAL].map(Some).contains(&error.raw_os_error()) => {
            let named = path.join(name);
            make(&named).and_then(|()| fs::remove_file(&named)).map(|()| "a file was written and removed".to_owned())
        }
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(b"portcullis\n")
}

fn move_away(path: &Path) -> io::Result<String> {
    let mut away = path.as_os_str().to_owned();
    away.push(".moved");
    let away = PathBuf::from(away);
    fs::rename(path, &away).and_then(|()| fs::rename(&away, path)).map(|()| "it was renamed".to_owned())
}

fn loopback() -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE).map(|_| "connected to a listener of its own".to_owned())
}

fn status() -> io::Result<String> {
    const WANTED: [&str; 6] = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"];
    let text = fs::read_to_string("/proc/self/status")?;
    let lines = text.lines().filter(|line| WANTED.iter().any(|name| line.starts_with(name)));
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("; "))
}

fn limit(which: &str) -> io::Result<String> {
    let resource = match which {
        "files" => Resource::RLIMIT_NOFILE,
        "file-size" => Resource::RLIMIT_FSIZE,
        _ => Resource::RLIMIT_NPROC,
    };
    getrlimit(resource).map(|(_, hard)| hard.to_string()).map_err(io::Error::from)
}

fn open_files() -> u64 {
    let mut held = Vec::new();
    while held.len() as u64 <= MOST_FILES
        && let Ok(file) = File::open("/dev/null")
    {
        held.push(file);
    }
    // Standard input, output and error are open as well.
    held.len() as u64 + 3
}

fn file_size(folder: &Path, limit: u64) -> io::Result<String> {
    let path = folder.join("portcullis-size");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    // Of a write that begins below the limit the kernel takes what fits; only one that begins at it brings the signal (setrlimit(2)).
    let written = file.write_at(b"ab", limit.saturating_sub(1));
    fs::remove_file(&path)?;
    written.map(|bytes| bytes.to_string())
}

fn leave_behind(name: &str) -> io::Result<String> {
    match sys::fork()? {
        Fork::Child => {
            if let Ok(name) = std::ffi::CString::new(name) {
                let _ = nix::sys::prctl::set_name(&name);
            }
            // As what wants to outlive its call would: in a session of its own.
            let _ = nix::unistd::setsid();
            std::thread::sleep(Duration::from_secs(60));
            sys::exit_now(0)
        }
        Fork::Parent(_) => Ok("a process in a session of its own was left".to_owned()),
    }
}
