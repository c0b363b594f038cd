//! The memory of all processes of a call together, watched by its init.
//!
//! No rlimit can say "so much memory in use": `RLIMIT_DATA` and `RLIMIT_AS` count what a runtime reserves, and an address sanitizer
//! reserves terabytes that it never touches. Where a control group is delegated, the kernel keeps the limit (see [`super::cgroup`]);
//! everywhere else the init adds up what the processes of its PID namespace really hold.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How often the processes are looked at.
const EVERY: Duration = Duration::from_millis(50);
/// Looking must not take more than this part of the time, but a busy machine must not make it look away for longer than this.
const SHARE: u32 = 4;
const LONGEST: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct Watch {
    limit: u64,
    next: Instant,
}

impl Watch {
    /// Watches for more than `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, next: Instant::now() + EVERY }
    }

    /// When to look next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Looks, if it is time. Whether the processes hold more than the limit.
    pub fn exceeded(&mut self) -> bool {
        let began = Instant::now();
        if began < self.next {
            return false;
        }
        // Shared pages are counted once for each process that maps them, so this is the most that it can be; the exact sum is dear and
        // is asked for only where it decides. What a process keeps from being asked counts as the most.
        let exceeded = sum(resident) > self.limit && sum(|process| proportional(process).or_else(|| resident(process))) > self.limit;
        self.next = Instant::now() + EVERY.max(began.elapsed() * SHARE).min(LONGEST);
        exceeded
    }
}

/// The sum of a measure of every process of this PID namespace but its first, which is the init.
fn sum(measure: impl Fn(&str) -> Option<u64>) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit())).filter_map(|name| measure(&name)).sum()
}

/// Anonymous and shared memory of a process in bytes; mapped files are left out, which the kernel can drop (proc_pid_status(5)).
fn resident(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(kilobytes(&status, "RssAnon:") + kilobytes(&status, "RssShmem:"))
}

/// The same with shared pages divided among those that map them (proc_pid_smaps(5), Linux 5.4).
fn proportional(process: &str) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    Some(kilobytes(&rollup, "Pss_Anon:") + kilobytes(&rollup, "Pss_Shmem:"))
}

fn kilobytes(text: &str, field: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_seen_and_what_it_only_reserves_is_not() {
        let own = std::process::id().to_string();
        let before = resident(&own).unwrap();
        let held = vec![1u8; 64 << 20];
        let after = resident(&own).unwrap();
        assert!(after >= before + (60 << 20), "{before} {after} {}", held.len());
        assert!(proportional(&own).unwrap() <= after + (1 << 20));
        let reserved: Vec<u8> = Vec::with_capacity(64 << 20);
        assert!(resident(&own).unwrap() < after + (60 << 20), "{}", reserved.capacity());
    }
}
