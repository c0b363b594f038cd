//! `cargo bench --bench launch`: what a call costs, from the agent's side, against the same without a sandbox: `/bin/true` in a sandbox that was made
//! ahead and in one that is made for it, `read_file` and `search`, several at a time, and a workspace with many files. What is compared is done in turn, so
//! that a machine that slows down slows all of it. It prints; it asserts nothing but that all of it was done.
//!
//! The launcher starts this very program again as its stage.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::fd::AsFd,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use portcullis::{
    policy::load,
    sandbox::{
        Call, FromSandbox, Launch, Launcher, Plan, Program, Session,
        message::{Expected, MessageError},
        stage,
    },
    worker::Request,
};

const RUNS: usize = 200;
/// How long the model would think at the least: time for the next sandbox to be made.
const THINKS: Duration = Duration::from_millis(40);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == stage::STAGE) {
        return ExitCode::from(u8::try_from(stage::run(&arguments[2])).unwrap_or(1));
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in ["home", "state", "private/tmp", "private/home", "private/outputs", "small", "large"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for number in 0..30 {
        fs::write(root.join(format!("small/file{number}.txt")), "a line\n".repeat(40) + "needle\n").unwrap();
    }
    let files = if arguments.iter().any(|argument| argument == "--large") { 100_000 } else { 20_000 };
    for number in 0..files {
        if number % 100 == 0 {
            fs::create_dir_all(root.join(format!("large/d{}", number / 100))).unwrap();
        }
        fs::write(root.join(format!("large/d{}/f{number}", number / 100)), "x").unwrap();
    }
    let launcher = Launcher::start().unwrap();
    let small = Scene::new(&launcher, &root, "small");
    let large = Scene::new(&launcher, &root, "large");

    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..RUNS {
        // Each comes after the model has thought: a machine that has done nothing for a while is slower at first.
        thread::sleep(THINKS);
        times.entry("bare spawn of /bin/true").or_default().push(timed(bare));
        thread::sleep(THINKS);
        times.entry("/bin/true in a sandbox made ahead").or_default().push(timed(|| small.program(small.ahead, &["/bin/true"])));
    }
    for _ in 0..RUNS / 4 {
        times.entry("/bin/true in a sandbox made for it").or_default().push(timed(|| small.program(small.cold, &["/bin/true"])));
        let path = root.join("small/file1.txt");
        times.entry("read of a file, and a copy").or_default().push(timed(|| drop(fs::read(&path).unwrap())));
        thread::sleep(THINKS);
        let read = Request::ReadFile { path: "file1.txt".to_owned(), offset: None, limit: None };
        times.entry("read_file").or_default().push(timed(|| small.tool(&read)));
    }
    for _ in 0..20 {
        times.entry("/bin/true among many files, made ahead").or_default().push(timed(|| large.program(large.ahead, &["/bin/true"])));
        thread::sleep(Duration::from_millis(600));
        times.entry("/bin/true among many files, made for it").or_default().push(timed(|| large.program(large.cold, &["/bin/true"])));
        thread::sleep(Duration::from_millis(100));
        times.entry("8 of /bin/true at once").or_default().push(timed(|| small.many(8)));
        times.entry("8 bare spawns at once").or_default().push(timed(|| many_bare(8)));
    }
    times.entry("200 of /bin/true at once").or_default().push(timed(|| small.many(200)));
    println!("files in the large workspace: {files}");
    for (what, mut list) in times {
        list.sort_by(f64::total_cmp);
        println!("{what}: median {:.3} ms, 95 of 100 below {:.3} ms", list[list.len() / 2], list[list.len() * 95 / 100]);
    }
    ExitCode::SUCCESS
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1000.0
}

fn bare() {
    // Without arguments that need a copy of this process the standard library uses posix_spawn.
    assert!(Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

fn many_bare(number: usize) {
    let all: Vec<_> = (0..number).map(|_| Command::new("/bin/true").stdin(Stdio::null()).spawn().unwrap()).collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
}

/// A workspace with plans for its calls.
struct Scene<'a> {
    launcher: &'a Launcher,
    workspace: std::path::PathBuf,
    environment: Vec<(String, String)>,
    ahead: u32,
    cold: u32,
    tools: u32,
}

impl<'a> Scene<'a> {
    fn new(launcher: &'a Launcher, root: &Path, workspace: &str) -> Self {
        let policy = load::alone(load::DEFAULT_PRESET).unwrap();
        let session = Session {
            workspace: root.join(workspace),
            home: root.join("home"),
            private: root.join("private"),
            state: root.join("state"),
            linked: None,
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        };
        let plan = Plan::new(&policy, &session).unwrap();
        Self {
            launcher,
            environment: plan.environment(&policy, &session),
            workspace: session.workspace,
            ahead: launcher.register_for(plan.clone(), Expected::Programs).unwrap(),
            cold: launcher.register(plan.clone()).unwrap(),
            tools: launcher.register_for(plan.read_only(), Expected::FileTools).unwrap(),
        }
    }

    fn launch(&self, plan: u32, program: Program, input: Option<&[u8]>) -> (Call, std::io::PipeReader) {
        let null = fs::File::open("/dev/null").unwrap();
        let (output, output_end) = std::io::pipe().unwrap();
        let (input_end, mut feed) = std::io::pipe().unwrap();
        let stdin = if input.is_some() { input_end.as_fd() } else { null.as_fd() };
        let launch = Launch {
            plan,
            program,
            environment: self.environment.clone(),
            cwd: self.workspace.clone(),
            wall_ms: None,
            terminal: None,
            terminal_streams: [false; 3],
        };
        let call = self.launcher.launch(launch, [stdin, output_end.as_fd(), output_end.as_fd()]).unwrap();
        feed.write_all(input.unwrap_or_default()).unwrap();
        (call, output)
    }

    fn program(&self, plan: u32, words: &[&str]) {
        ended(self.launch(plan, Program::Exec(words.iter().map(|word| (*word).to_owned()).collect()), None));
    }

    fn tool(&self, request: &Request) {
        let bytes = serde_json::to_vec(request).unwrap();
        let said = ended(self.launch(self.tools, Program::Worker, Some(&bytes)));
        assert!(said.contains("needle"), "{said}");
    }

    fn many(&self, number: usize) {
        let all: Vec<_> = (0..number).map(|_| self.launch(self.cold, Program::Exec(vec!["/bin/true".to_owned()]), None)).collect();
        all.into_iter().for_each(|call| drop(ended(call)));
    }
}

/// Waits for the end, as the agent does.
fn ended((call, mut output): (Call, std::io::PipeReader)) -> String {
    loop {
        match call.next() {
            Ok((FromSandbox::Exited(exit), _)) => {
                assert_eq!(exit.code, Some(0));
                break;
            }
            Ok((FromSandbox::Failed { step, reason, .. }, _)) => panic!("could not {step}: {reason}"),
            Ok(_) => {}
            Err(MessageError::Closed) => panic!("it ended without a word"),
            Err(error) => panic!("{error}"),
        }
    }
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    said
}
