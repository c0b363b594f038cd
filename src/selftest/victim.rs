//! A process of the person's that a sandbox must neither see nor touch. It waits, holds a secret in its memory, and ends with this one.

use std::{
    fs, io,
    io::{Read as _, Seek as _},
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};

use crate::sandbox::sys::{self, Fork};

/// The process.
#[derive(Debug)]
pub struct Victim {
    pid: Pid,
    /// Kept at the same place in both processes: the victim has a copy of this memory.
    secret: String,
}

impl Victim {
    /// Starts it. To be called while this process has one thread.
    pub fn start(secret: &str) -> io::Result<Self> {
        let secret = secret.to_owned();
        match sys::fork()? {
            Fork::Parent(pid) => Ok(Self { pid, secret }),
            Fork::Child => {
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                let _ = sys::close_range(0, u32::MAX);
                loop {
                    std::thread::sleep(Duration::from_secs(3600));
                    // The secret stays in use, and so in memory.
                    std::hint::black_box(&secret);
                }
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Where in its memory the secret lies, and how long it is.
    pub fn secret_at(&self) -> (usize, usize) {
        (self.secret.as_ptr().addr(), self.secret.len())
    }

    /// All of it that somebody could change: whether it runs, who traces it, limits, priority, processors, scheduling, memory.
    pub fn state(&self) -> String {
        let file = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        let status = file("status");
        let field = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or("gone").to_owned();
        let stat = file("stat");
        let stat: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let of_stat = |number: usize| stat.get(number - 3).copied().unwrap_or("gone");
        let alive = !matches!(of_stat(3), "gone" | "Z" | "X" | "T" | "t");
        format!(
            "{}\n{}\n{}\npriority {} nice {} policy {}\nmemory {}\n{}",
            if alive { "alive" } else { "ended or stopped" },
            field("TracerPid:"),
            field("Cpus_allowed_list:"),
            of_stat(18),
            of_stat(19),
            of_stat(41),
            if self.memory().is_ok_and(|memory| memory == self.secret.as_bytes()) { "as it was" } else { "changed or gone" },
            file("limits"),
        )
    }

    fn memory(&self) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(format!("/proc/{}/mem", self.pid))?;
        let (address, length) = self.secret_at();
        file.seek(io::SeekFrom::Start(address as u64))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}
