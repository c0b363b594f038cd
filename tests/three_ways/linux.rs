//! What the sandbox of Linux does, by its effect: the file on the host, the connection that arrives, what a program could show.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::MetadataExt, net::UnixListener},
    path::Path,
};

use crate::{
    support::Ended,
    table::{Network, Operation, Verdict},
    world::{Scene, Spot},
};

pub fn does(scene: &Scene, operation: &Operation) -> Verdict {
    Verdict::of(match operation {
        Operation::Read(place) => reads(scene, place),
        Operation::Run(place) => sh(scene, "\"$1\"", &[place]).stdout == "ran\n",
        Operation::Write(place) => {
            makes(scene, place, "printf changed > \"$1\"", |path| fs::read(path).is_ok_and(|held| held == b"changed"))
        }
        Operation::Create(place) => {
            assert!(!there(&scene.path(place)), "{place} is there already");
            makes(scene, place, "printf made > \"$1\"", |path| fs::read(path).is_ok_and(|held| held == b"made"))
        }
        Operation::Mkdir(place) => makes(scene, place, "mkdir -p \"$1\"", |path| path.is_dir()),
        Operation::Delete(place) => {
            let path = scene.path(place);
            assert!(there(&path), "{place} is not there");
            sh(scene, "rm -rf \"$1\"", &[place]);
            !there(&path)
        }
        Operation::Rename([from, to]) => {
            let before = identity(&scene.path(from)).expect(from);
            sh(scene, "mv -T \"$1\" \"$2\"", &[from, to]);
            !there(&scene.path(from)) || identity(&scene.path(to)) == Some(before)
        }
        Operation::Link([from, to]) => {
            sh(scene, "ln \"$1\" \"$2\"", &[from, to]);
            identity(&scene.path(to)).is_some_and(|found| Some(found) == identity(&scene.path(from)))
        }
        Operation::Network(which) => reaches(scene, *which),
        Operation::Socket(place) => {
            let listener = UnixListener::bind(scene.path(place)).unwrap();
            listener.set_nonblocking(true).unwrap();
            python(scene, &format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", scene.path(place)));
            listener.accept().is_ok()
        }
    })
}

fn there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Runs a script in the sandbox with the places as its arguments.
fn sh(scene: &Scene, script: &str, places: &[&String]) -> Ended {
    let paths: Vec<String> = places.iter().map(|place| scene.path(place).display().to_string()).collect();
    let mut command = vec!["sh", "-c", script, "sh"];
    command.extend(paths.iter().map(String::as_str));
    Ended::from(scene.host.sandbox_under(&scene.chosen, &command).output().unwrap()).ran()
}

fn python(scene: &Scene, program: &str) -> Ended {
    Ended::from(scene.host.sandbox_under(&scene.chosen, &["python3", "-c", program]).output().unwrap()).ran()
}

fn reads(scene: &Scene, place: &String) -> bool {
    let held = fs::read_to_string(scene.path(place)).unwrap();
    assert!(!held.is_empty(), "{place} holds nothing");
    let ended = sh(scene, "cat \"$1\"", &[place]);
    assert!(ended.stdout == held || ended.stdout.is_empty(), "{ended:#?}");
    ended.stdout == held
}

/// Whether a script has its effect: on the host, or, in a private folder that is gone at the end, as far as a program could see, and then not on
/// the host.
fn makes(scene: &Scene, place: &String, script: &str, done: impl Fn(&Path) -> bool) -> bool {
    let path = scene.path(place);
    let made = if matches!(scene.spot(place), Spot::Host(_)) {
        sh(scene, script, &[place]);
        done(&path)
    } else {
        let ended = sh(scene, &format!("{script} && test -e \"$1\" && echo there"), &[place]);
        assert!(!there(&path), "{place} has come to the host");
        ended.stdout == "there\n"
    };
    // What nobody may ever have made there goes all the same, so that a failure does not outlive its run.
    if place.starts_with('/') {
        let _ = fs::remove_file(&path);
    }
    made
}

fn reaches(scene: &Scene, which: Network) -> bool {
    match which {
        Network::Own => {
            let program = "import socket\ns = socket.create_server(('127.0.0.1', 0))\nsocket.create_connection(s.getsockname(), 5)\ns.accept()\nprint('reached')";
            python(scene, program).stdout == "reached\n"
        }
        Network::Machine => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let port = listener.local_addr().unwrap().port();
            python(scene, &format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5)"));
            listener.accept().is_ok()
        }
        Network::Proxy => {
            let port = portcullis::egress::PORT;
            let ended = python(scene, &format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('reached')"));
            ended.stdout == "reached\n"
        }
    }
}
