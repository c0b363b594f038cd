//! Rust, offline: a crate with one dependency from the person's own cache, filled by a registry that is gone when the sandbox starts.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use sha2::{Digest, Sha256};

use crate::{
    job::finished,
    support::{Ended, Host, skip},
};

/// The folder of the toolchain that these tests were built with, if this user may read it.
fn toolchain(test: &str) -> Option<PathBuf> {
    let cargo = fs::canonicalize(env!("CARGO"));
    let found = cargo.ok().and_then(|cargo| Some(cargo.parent()?.parent()?.to_path_buf()));
    if found.is_none() {
        skip(test, "uid: the Rust toolchain lies in a folder that this user may not enter");
    }
    found
}

/// The everyday policy with the toolchain, which is not in the made-up home.
fn policy(host: &Host, toolchain: &Path) -> String {
    let read = format!("[filesystem]\nread = [\"@system\", \"@toolchains\", \"@workspace\", {:?}]", toolchain.display().to_string());
    host.policy("rust", &read)
}

struct Project {
    host: Host,
    toolchain: PathBuf,
    policy: String,
}

impl Project {
    /// A crate `app` that uses `seven` from a registry, which has been fetched.
    fn new(test: &str) -> Option<Self> {
        let toolchain = toolchain(test)?;
        let host = Host::new();
        host.write("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nseven = \"1\"\n");
        host.write(
            "src/main.rs",
            "//! Says seven.\nfn main() { println!(\"{}\", seven::seven()); }\n#[test]\nfn is_seven() { assert_eq!(seven::seven(), 7); }\n",
        );
        let policy = policy(&host, &toolchain);
        let project = Self { host, toolchain, policy };
        let registry = project.registry();
        fs::create_dir_all(project.host.home.join(".cargo")).unwrap();
        let settings = format!("[source.crates-io]\nreplace-with = \"own\"\n[source.own]\nregistry = \"sparse+{registry}/index/\"\n");
        fs::write(project.host.home.join(".cargo/config.toml"), settings).unwrap();
        let mut fetch = project.host.clean("cargo");
        project.with_path(&mut fetch);
        Ended::from(fetch.arg("fetch").current_dir(&project.host.workspace).output().unwrap()).done();
        Some(project)
    }

    /// Makes the dependency, and a registry on a port of its own that serves it (doc.rust-lang.org, "Running a Registry").
    fn registry(&self) -> String {
        let folder = self.host.root.join("registry");
        let package = folder.join("seven-1.0.0");
        fs::create_dir_all(package.join("src")).unwrap();
        fs::write(package.join("Cargo.toml"), "[package]\nname = \"seven\"\nversion = \"1.0.0\"\nedition = \"2021\"\n").unwrap();
        fs::write(package.join("src/lib.rs"), "/// Seven.\npub fn seven() -> u32 { 7 }\n").unwrap();
        let archive = folder.join("seven.crate");
        let mut pack = self.host.clean("tar");
        pack.arg("-C").arg(&folder).arg("-czf").arg(&archive).arg("seven-1.0.0");
        Ended::from(pack.output().unwrap()).done();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let bytes = fs::read(archive).unwrap();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let entry =
            format!("{{\"name\":\"seven\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{digest}\",\"features\":{{}},\"yanked\":false}}\n");
        let configuration = format!("{{\"dl\":\"{address}/{{crate}}\"}}");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut part = [0; 1024];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut part).unwrap() {
                        0 => break,
                        read => request.extend_from_slice(&part[..read]),
                    }
                }
                let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
                let body: &[u8] = match path.as_str() {
                    "/index/config.json" => configuration.as_bytes(),
                    "/index/se/ve/seven" => entry.as_bytes(),
                    _ => &bytes,
                };
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
                stream.write_all(body).unwrap();
            }
        });
        address
    }

    fn with_path(&self, command: &mut Command) {
        command.env("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.toolchain.display()));
    }

    /// Runs a script with the toolchain on its `PATH`, as a person's own policy would grant it.
    #[track_caller]
    fn job(&self, script: &str) -> String {
        let mut command = self.host.sandbox_under(&self.policy, &["bash", "-euo", "pipefail", "-c", script]);
        self.with_path(&mut command);
        finished(command)
    }

    fn built(&self, path: &str) -> bool {
        self.host.workspace.join("target").join(path).exists()
    }
}

#[test]
fn a_crate_with_a_dependency_from_the_cache_is_built_tested_and_documented() {
    let Some(project) = Project::new("honest::rust::a_crate_with_a_dependency_from_the_cache_is_built_tested_and_documented") else {
        return;
    };
    assert_eq!(project.job("cargo build -q --offline; target/debug/app"), "7\n");
    assert!(project.job("cargo test --offline 2>&1").contains("test is_seven ... ok"));
    project.job("cargo doc -q --offline; cargo tree -q --offline; cargo metadata -q --offline --format-version 1 > metadata.json");
    assert!(project.built("doc/app/index.html") && project.built("doc/seven/index.html"));
    let again = project.job("cargo build --offline 2>&1; echo '// changed' >> src/main.rs; cargo build --offline 2>&1");
    assert_eq!((again.matches("Compiling app").count(), again.matches("Compiling seven").count()), (1, 0), "{again}");
    let mut outside = project.host.clean(project.host.workspace.join("target/debug/app"));
    assert_eq!(outside.output().unwrap().stdout, b"7\n");
}

#[test]
fn a_dependency_that_was_never_unpacked_is_built() {
    let Some(project) = Project::new("honest::rust::a_dependency_that_was_never_unpacked_is_built") else { return };
    let sources = project.host.home.join(".cargo/registry/src");
    fs::remove_dir_all(&sources).unwrap();
    assert_eq!(project.job("cargo run -q --offline"), "7\n");
    assert!(!sources.exists(), "the person's own cache stays as it is");
}

#[test]
fn cargo_and_rustc_are_found_by_way_of_rustups_proxies() {
    let test = "honest::rust::cargo_and_rustc_are_found_by_way_of_rustups_proxies";
    let Some(project) = Project::new(test) else { return };
    let rustup = option_env!("CARGO_HOME").map(Path::new).map(|home| home.join("bin/rustup")).filter(|path| fs::File::open(path).is_ok());
    let Some(rustup) = rustup else { return skip(test, "uid: this toolchain did not come by rustup, or rustup is out of reach") };
    let programs = project.host.home.join(".cargo/bin");
    fs::create_dir(&programs).unwrap();
    fs::copy(rustup, programs.join("rustup")).unwrap();
    for name in ["cargo", "rustc", "rustdoc"] {
        symlink("rustup", programs.join(name)).unwrap();
    }
    for arguments in [&["toolchain", "link", "own", project.toolchain.to_str().unwrap()][..], &["default", "own"]] {
        Ended::from(project.host.clean(programs.join("rustup")).args(arguments).output().unwrap()).done();
    }
    let mut command =
        project.host.sandbox_under(&project.policy, &["sh", "-ec", "command -v cargo; rustc --version; cargo run -q --offline"]);
    let printed = finished({
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        command
    });
    assert!(printed.starts_with(programs.to_str().unwrap()) && printed.ends_with("7\n"), "{printed}");
}

#[test]
fn a_new_crate_is_started() {
    let Some(toolchain) = toolchain("honest::rust::a_new_crate_is_started") else { return };
    let host = Host::new();
    let script = "cargo new -q started; cd started; cargo run -q; cargo clean -q; cargo check -q; cargo install -q --path . --root out";
    let mut command = host.sandbox_under(&policy(&host, &toolchain), &["sh", "-ec", script]);
    command.env("PATH", format!("{}/bin:/usr/bin:/bin", toolchain.display()));
    assert_eq!(finished(command), "Hello, world!\n");
    assert!(host.has("started/out/bin/started"));
}
