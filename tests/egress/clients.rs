//! Real clients through the proxy, with the variables that calls are given and nothing else.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

use super::{
    stage::{PUBLIC, Ran, Stage},
    support::{installed, skip},
};

const LISTED: &str = "allow = [\"allowed.test\"]";

/// Runs a script that succeeds where the host is listed, and fails, with nothing reached, where it is not.
fn pair(stage: &mut Stage, script: &str) -> Ran {
    pair_with(stage, "", script)
}

/// The same under a policy that says more.
fn pair_with(stage: &mut Stage, more: &str, script: &str) -> Ran {
    let refused = stage.sh(&format!("allow = [\"elsewhere.test\"]\n{more}"), script);
    assert!(refused.code != 0 && refused.noted.is_empty(), "{refused:#?}");
    assert!(
        refused.err.contains("smallest grant: add \"allowed.test:80\"") || refused.err.contains("add \"allowed.test:443\""),
        "{refused:#?}"
    );
    let ran = stage.sh(&format!("{LISTED}\n{more}"), script);
    assert!(ran.code == 0 && ran.strays().is_empty() && ran.noted.iter().any(|note| note["at"] == PUBLIC), "{ran:#?}");
    ran
}

fn host(folder: &Path, program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

#[test]
fn curl_over_http_https_and_socks() {
    let Some(mut stage) = Stage::new("curl_over_http_https_and_socks") else { return };
    let cert = stage.path("cert.pem");
    fs::copy(cert, stage.path("ws/ca.pem")).unwrap();
    for script in [
        "curl -fsS http://allowed.test/hello",
        "curl -fsS --cacert ca.pem https://allowed.test/hello",
        "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY curl -fsS http://allowed.test/hello",
        "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY curl -fsS --cacert ca.pem https://allowed.test/hello",
    ] {
        assert_eq!(pair(&mut stage, script).out, "hello\n", "{script}");
    }
}

#[test]
fn git_clones_over_http() {
    let Some(mut stage) = Stage::new("git_clones_over_http") else { return };
    let source = stage.path("source");
    fs::create_dir(&source).unwrap();
    host(&source, "git", &["init", "-q"]);
    fs::write(source.join("file"), "content\n").unwrap();
    host(&source, "git", &["add", "file"]);
    host(&source, "git", &["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "one"]);
    host(&stage.path("site"), "git", &["clone", "-q", "--bare", &source.display().to_string(), "repo.git"]);
    host(&stage.path("site/repo.git"), "git", &["update-server-info"]);
    pair(
        &mut stage,
        "rm -rf \"$HOME/repo\"; git clone -q http://allowed.test/repo.git \"$HOME/repo\" && grep -q content \"$HOME/repo/file\"",
    );
}

#[test]
fn pip_installs_from_an_index() {
    let name = "pip_installs_from_an_index";
    let Some(mut stage) = Stage::new(name) else { return };
    if !Command::new("/usr/bin/python3").args(["-c", "import ensurepip"]).stderr(Stdio::null()).status().unwrap().success() {
        return skip(name, "no pip can be had: /usr/bin/python3 has no ensurepip");
    }
    // A wheel is a zip with three files of its own (PEP 427).
    let make = "import zipfile, sys\nz = zipfile.ZipFile(sys.argv[1] + '/site/simple/tiny/tiny-1.0-py3-none-any.whl', 'w')\n\
        z.writestr('tiny.py', 'said = \"from the index\"')\nz.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')\n\
        z.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\nz.writestr('tiny-1.0.dist-info/RECORD', '')\nz.close()";
    stage.write("site/simple/tiny/index.html", "<a href=\"tiny-1.0-py3-none-any.whl\">tiny-1.0-py3-none-any.whl</a>");
    host(&stage.path(""), "/usr/bin/python3", &["-c", make, &stage.path("").display().to_string()]);
    let script = "rm -rf venv && /usr/bin/python3 -m venv venv && venv/bin/pip install -q --disable-pip-version-check --retries 0 --trusted-host allowed.test \
                  --index-url http://allowed.test/simple/ tiny && venv/bin/python -c 'import tiny; print(tiny.said)'";
    assert_eq!(pair(&mut stage, script).out, "from the index\n");
}

#[test]
fn npm_installs_from_a_registry() {
    let name = "npm_installs_from_a_registry";
    let Some(mut stage) = Stage::new(name) else { return };
    if !installed("npm") {
        return skip(name, "no npm");
    }
    stage.write("package/package.json", "{\"name\":\"tiny\",\"version\":\"1.0.0\",\"main\":\"index.js\"}");
    stage.write("package/index.js", "module.exports = 'from the registry'");
    host(&stage.path(""), "tar", &["czf", "site/tiny-1.0.0.tgz", "package"]);
    let version = r#"{"name":"tiny","version":"1.0.0","main":"index.js","dist":{"tarball":"http://allowed.test/tiny-1.0.0.tgz"}}"#;
    stage.write("site/tiny", format!(r#"{{"name":"tiny","dist-tags":{{"latest":"1.0.0"}},"versions":{{"1.0.0":{version}}}}}"#));
    let script = "rm -rf node_modules package.json; echo '{}' > package.json; npm install --silent --no-audit --no-fund --fetch-retries 0 --registry http://allowed.test/ tiny \
                  && node -e 'console.log(require(\"tiny\"))'";
    assert_eq!(pair(&mut stage, script).out, "from the registry\n");
}

#[test]
fn cargo_builds_from_a_sparse_registry() {
    let name = "cargo_builds_from_a_sparse_registry";
    let Some(mut stage) = Stage::new(name) else { return };
    // The toolchain that this test was built by.
    let cargo = Path::new(env!("CARGO"));
    let Some(toolchain) = cargo.parent().and_then(Path::parent).filter(|_| fs::File::open(cargo).is_ok()) else {
        return skip(name, "uid: the toolchain is out of this user's reach");
    };
    let files = format!("[filesystem]\nread = [\"@system\", \"@toolchains\", \"@workspace\", \"{}\"]", toolchain.display());
    stage.write("crate/tiny-1.0.0/Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n");
    stage.write("crate/tiny-1.0.0/src/lib.rs", "pub const SAID: &str = \"from the registry\";\n");
    fs::create_dir(stage.path("site/crates")).unwrap();
    host(&stage.path("crate"), "tar", &["czf", "../site/crates/tiny-1.0.0.crate", "tiny-1.0.0"]);
    let digest = Sha256::digest(fs::read(stage.path("site/crates/tiny-1.0.0.crate")).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    stage.write("site/index/config.json", r#"{"dl":"http://allowed.test/crates/{crate}-{version}.crate"}"#);
    stage.write(
        "site/index/ti/ny/tiny",
        format!(r#"{{"name":"tiny","vers":"1.0.0","deps":[],"cksum":"{digest}","features":{{}},"yanked":false}}"#),
    );
    stage.write("ws/.cargo/config.toml", "[registries.here]\nindex = \"sparse+http://allowed.test/index/\"\n");
    stage.write("ws/Cargo.toml", "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ntiny = { version = \"1\", registry = \"here\" }\n");
    stage.write("ws/src/main.rs", "fn main() { println!(\"{}\", tiny::SAID); }\n");
    let script = format!("rm -rf target Cargo.lock; export RUSTC={0}/bin/rustc; {0}/bin/cargo run -q", toolchain.display());
    assert_eq!(pair_with(&mut stage, &files, &script).out, "from the registry\n");
}

#[test]
fn go_and_java_find_the_proxy_too() {
    let name = "go_and_java_find_the_proxy_too";
    let Some(mut stage) = Stage::new(name) else { return };
    if installed("go") {
        stage.write("site/go/allowed.test/tiny/@v/list", "v1.0.0\n");
        stage.write("site/go/allowed.test/tiny/@v/v1.0.0.info", r#"{"Version":"v1.0.0"}"#);
        stage.write("site/go/allowed.test/tiny/@v/v1.0.0.mod", "module allowed.test/tiny\n");
        stage.write("ws/go.mod", "module user\n\ngo 1.19\n");
        let script = "GOFLAGS=-mod=mod GOPROXY=http://allowed.test/go GONOSUMDB='*' GONOSUMCHECK=1 GOFLAGS=-mod=mod go list -m -versions allowed.test/tiny";
        assert!(pair(&mut stage, script).out.contains("v1.0.0"));
    } else {
        skip(name, "no go");
    }
    if !installed("javac") {
        return skip(name, "no javac");
    }
    stage.write("ws/Get.java", "public class Get { public static void main(String[] a) throws Exception { System.out.write(new java.net.URL(\"http://allowed.test/hello\").openStream().readAllBytes()); System.out.flush(); } }");
    assert_eq!(pair(&mut stage, "java Get.java").out, "hello\n");
}
