//! `portcullis doctor`: what this machine can enforce, found by trying, and what that means for each preset.
//!
//! It ends with 0 if the default preset can be enforced in full, else with 4 ([`Exit::Sandbox`]).
//!
//! # The JSON object
//! `--json` prints one object. Keys may be added; a change that takes one away, or changes what it means, raises `version`.
//!
//! | key | what it holds |
//! |---|---|
//! | `version` | 1, the version of this shape |
//! | `portcullis` | the program's version |
//! | `kernel` | the kernel's name, release and architecture |
//! | `root` | whether the caller is uid 0 |
//! | `container` | `"docker"`, `"podman"` or null: a hint, from the files that they leave |
//! | `landlock` | `abi` or null, `used_abi`: the newest that this version uses, `reason`, `rights`: one `{abi, adds, had, without}` per ABI |
//! | `seccomp`, `mounts`, `proc` | `{works, reason}`: system call filters; mounting in new namespaces; mounting `/proc` there |
//! | `namespaces` | one `{name, works, reason}` per namespace |
//! | `processes` | `{bound, pid_max_per_namespace}`; `bound` is `"cgroup"`, `"pid_max"`, `"rlimit"` or `"none"` |
//! | `cgroups` | `{controllers, used}`: version 2 controllers that are delegated to the caller, and whether calls get a group each |
//! | `macos` | `{applicable, sandbox_exec, built}`; see below |
//! | `settings` | the values of the kernel settings that decide over namespaces; null where there is no such setting |
//! | `presets` | one `{name, default, enforced, needs, lacks}` per preset; `enforced` is `"full"`, `"part"` or `"refused"`; `needs` is for people |
//! | `presets[].lacks` | each `{what, reason, lost, stops, remedy}`; `stops` says that nothing runs without it |
//! | `verdict` | `{preset, enforced, text}` for the default preset |
//!
//! On macOS it has `version`, `portcullis`, `macos`, `presets` and `verdict` alone, and `macos` holds besides `product` (the version of the system or
//! null), and `starts` and `keeps`, each `{works, reason}`: whether a program starts under the profile of the default preset, and whether that keeps it
//! from what it does not grant.

#[cfg(any(test, target_os = "macos"))]
mod macos;
mod presets;
pub(super) mod provider;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod show;
#[cfg(all(test, target_os = "linux"))]
mod tests;

#[cfg(target_os = "macos")]
use self::macos::{Machine, Report};
#[cfg(target_os = "linux")]
use self::report::{Machine, Report};
use super::{exit::Exit, output};
use crate::ui::{self, style::Paint};

/// Looks at the machine and says what it found. To be called while this process has one thread, because the look forks.
pub(super) fn run(json: bool) -> Exit {
    let report = Report::new(&Machine::look());
    let text = if json {
        match serde_json::to_string(&report) {
            Ok(text) => text + "\n",
            Err(error) => {
                super::report(&error);
                return Exit::Output;
            }
        }
    } else {
        report.text(ui::width(), Paint::of(&std::io::stdout()))
    };
    output::print(&text).err().unwrap_or(report.exit())
}
