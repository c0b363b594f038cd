//! Where logs go: a collector of OpenTelemetry's protocol, somebody else's where one is at hand.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

use super::support::wait_until;

/// A receiver that takes everything, and keeps the path and the text of each request.
pub struct Sink {
    pub url: String,
    taken: Arc<Mutex<Vec<(String, String)>>>,
}

impl Sink {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || take(&stream.unwrap(), &kept));
            }
        });
        Self { url, taken }
    }

    /// The texts of the requests to a path.
    pub fn taken(&self, path: &str) -> Vec<String> {
        self.taken.lock().unwrap().iter().filter(|(to, _)| to == path).map(|(_, text)| text.clone()).collect()
    }
}

fn take(stream: &TcpStream, kept: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let path = first.split(' ').nth(1).unwrap().to_owned();
        kept.lock().unwrap().push((path, String::from_utf8_lossy(&body).into_owned()));
        (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    }
}

/// A collector of somebody else's, which says on standard output what it takes.
pub struct Collector {
    child: Child,
    pub url: String,
    said: PathBuf,
    _folder: TempDir,
}

impl Collector {
    /// The one that `PORTCULLIS_COLLECTOR` names.
    pub fn start() -> Option<Self> {
        let program = std::env::var_os("PORTCULLIS_COLLECTOR")?;
        let folder = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (http, grpc, said) = (free(), free(), folder.path().join("said"));
        let mut command = Command::new(program);
        command.args([
            "start",
            "--exporter",
            "blackhole",
            "--debug-log",
            "logs",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        command.args(["--otlp-http-endpoint", &http.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()]);
        command.env_clear().current_dir(folder.path()).stdin(Stdio::null()).stdout(fs::File::create(&said).unwrap()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        wait_until("the collector listens", || TcpStream::connect(http).is_ok());
        Some(Self { child, url: format!("http://{http}"), said, _folder: folder })
    }

    /// What it has said until now.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
