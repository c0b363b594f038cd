//! The launcher's side on macOS: a small process with one thread that makes one process for each call, which starts `sandbox-exec` and watches it.
//! Compiled on macOS alone, and never run on one yet.

use std::{
    collections::HashMap,
    fs,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::setsid,
};

use super::{
    arguments::{SANDBOX_EXEC, arguments, links},
    call::{Failure, supervise},
    places::Places,
    profile::{Facts, render},
    settle::{leads_to, settled},
};
use crate::{
    egress,
    sandbox::{
        message::{Launch, MessageError, ToLauncher, receive, send},
        plan::{PRIVATE_PREFIX, Plan},
        sys::{self, Fork},
    },
    worker,
};

/// The first argument that makes this binary a launcher.
pub const STAGE: &str = "__launcher";
/// The first argument that makes it a file worker, with the folder to start in as the second. `sandbox-exec` has confined it by then.
pub const WORKER: &str = "__worker";
/// The lowest descriptor on which a launcher may find its control socket; the second argument names the one.
pub const CONTROL: i32 = 3;

/// The longest request of a file worker in bytes, as on Linux.
const REQUEST_CAP: u64 = 16 * 1024 * 1024;

/// Runs the launcher to its end on the control socket that the argument names. Returns its exit code.
pub fn run(control: &str) -> i32 {
    let Some(control) = take_control(control) else { return 1 };
    let Ok((alive, living)) = io::pipe() else { return 1 };
    let mut plans: HashMap<u32, Result<Plan, Failure>> = HashMap::new();
    let code = loop {
        match receive::<ToLauncher>(control.as_fd()) {
            Ok((ToLauncher::Register { id, plan, expected: _ }, _)) => {
                let plan = settled(&plan, &leads_to);
                make_links(&plan);
                plans.entry(id).or_insert_with(|| is_taken(&plan).map(|()| plan));
            }
            Ok((ToLauncher::Launch(launch), descriptors)) => {
                let Ok([stdin, stdout, stderr, socket]) = <[OwnedFd; 4]>::try_from(descriptors) else { break 1 };
                if let Err(failure) = start(&plans, launch, [stdin, stdout, stderr], &socket, &alive, &living) {
                    let _ = send(socket.as_fd(), &failure.message(), &[]);
                }
            }
            Err(MessageError::Closed) => break 0,
            Err(_) => break 1,
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
    };
    // Closing it tells each call's process to end.
    drop(living);
    while waitpid(None, None).is_ok() {}
    for plan in plans.values().flatten() {
        // The name is looked at because nothing else may ever be removed here.
        if plan.private.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PRIVATE_PREFIX)) {
            remove(&plan.private);
        }
    }
    code
}

/// The control socket that an argument names, in a process of a session of its own: a Ctrl-C meant for the agent would end this one before it has
/// ended its calls.
pub(crate) fn take_control(argument: &str) -> Option<OwnedFd> {
    let control = argument.parse::<i32>().ok().filter(|number| *number >= CONTROL)?;
    let _ = setsid();
    sys::close_on_exec_from(CONTROL).ok()?;
    sys::own(control).ok()
}

/// Removes a tree, also one whose folders a call has closed. No link in it is followed.
fn remove(folder: &Path) {
    if fs::remove_dir_all(folder).is_err() {
        open_up(folder);
        let _ = fs::remove_dir_all(folder);
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Whether this version of macOS takes the profile of a plan, found by trying: what `sandbox-exec` says of one would otherwise look like the program's own
/// words. Whether the program that it starts here is granted does not matter.
#[allow(clippy::disallowed_methods, reason = "a program of the system's, in a sandbox")]
fn is_taken(plan: &Plan) -> Result<(), Failure> {
    let step = "apply the profile";
    let profile = render(plan, &Facts { proxy: Some(egress::PORT), ..Facts::default() })?;
    let mut command = Command::new(SANDBOX_EXEC);
    command.args(arguments(&profile, &["/usr/bin/true".to_owned()])).env_clear().current_dir("/").stdin(Stdio::null());
    let ended = command.output().map_err(|error| Failure::system(step, &error))?;
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    if ended.status.success() || said.contains("execvp") {
        Ok(())
    } else {
        Err(Failure::new(step, format!("this macOS does not take it: {said}")))
    }
}

/// Makes the process of one call.
fn start(
    plans: &HashMap<u32, Result<Plan, Failure>>,
    launch: Launch,
    streams: [OwnedFd; 3],
    socket: &OwnedFd,
    alive: &PipeReader,
    living: &PipeWriter,
) -> Result<(), Failure> {
    let plan = match plans.get(&launch.plan) {
        Some(Ok(plan)) => plan,
        Some(Err(failure)) => return Err(failure.clone()),
        None => return Err(Failure::new("make the sandbox", "its plan was never registered")),
    };
    match sys::fork().map_err(|error| Failure::system("fork", &error))? {
        Fork::Parent(_) => Ok(()),
        Fork::Child => {
            // The end that says that the launcher lives must be the launcher's alone.
            let _ = nix::unistd::close(living.as_raw_fd());
            let done = supervise(plan, launch, streams, socket, alive);
            if let Err(failure) = &done {
                let _ = send(socket.as_fd(), &failure.message(), &[]);
            }
            sys::exit_now(i32::from(done.is_err()))
        }
    }
}

/// What is granted in the person's home is found in the private one, from the first call on. Later a call could have put links of its own in the way,
/// and this process is not confined: so a home that holds anything is left alone.
fn make_links(plan: &Plan) {
    let Ok(places) = Places::of(plan) else { return };
    let home = plan.private.join("home");
    if fs::read_dir(&home).is_ok_and(|mut entries| entries.next().is_some()) {
        return;
    }
    for (link, target) in links(&places).into_iter().filter(|(link, target)| link.starts_with(&home) && target.exists()) {
        if let Some(folder) = link.parent() {
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            let _ = symlink(&target, &link);
        }
    }
}

/// Serves one request of a built-in file tool, in a process that `sandbox-exec` has confined. Returns the exit code.
pub fn work(cwd: &str) -> i32 {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(REQUEST_CAP + 1).read_to_end(&mut bytes);
    if read.is_err() || bytes.len() as u64 > REQUEST_CAP {
        return 1;
    }
    let Ok(request) = serde_json::from_slice(&bytes) else { return 1 };
    let Ok(reply) = serde_json::to_vec(&worker::serve(&request, Path::new(cwd))) else { return 1 };
    let mut out = io::stdout().lock();
    i32::from(out.write_all(&reply).and_then(|()| out.flush()).is_err())
}
