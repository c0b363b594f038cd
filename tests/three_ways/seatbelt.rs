//! What the profile of macOS lets, by the evaluator: for each thing that is tried, the operations that the kernel of a Mac asks about.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis::sandbox::macos::profile::{Facts, render};

use crate::{
    evaluator::{About, Evaluator},
    support::Host,
    table::{Network, Operation, Verdict},
    world::{Scene, Spot},
};

/// Where the proxy listens for this call.
const PROXY: u16 = 50_000;

pub fn allows(scene: &Scene, operation: &Operation) -> Verdict {
    let profile = render(&scene.plan, &Facts { proxy: Some(PROXY), ..Facts::default() }).unwrap_or_else(|refusal| panic!("{refusal}"));
    let evaluator = Evaluator::new(&profile.text, &profile.parameters).unwrap_or_else(|error| panic!("{error}"));
    let file = |names: &[&str], path: PathBuf| evaluator.allows_all(names, &About::File(&path));
    let address = |names: &[&str], port| evaluator.allows_all(names, &About::Address { loopback: true, port });
    Verdict::of(match operation {
        Operation::Read(place) => file(&["file-read-metadata", "file-read-data"], opened(scene, place)),
        Operation::Run(place) => file(&["process-exec", "file-read-data", "file-map-executable"], opened(scene, place)),
        Operation::Write(place) => file(&["file-write-data"], opened(scene, place)),
        Operation::Create(place) => file(&["file-write-create", "file-write-data"], named(scene, place)),
        Operation::Mkdir(place) => file(&["file-write-create"], named(scene, place)),
        Operation::Delete(place) => file(&["file-write-unlink"], named(scene, place)),
        Operation::Rename([from, to]) => file(&["file-write-unlink"], named(scene, from)) && file(&["file-write-create"], named(scene, to)),
        Operation::Link([from, to]) => file(&["file-link"], named(scene, from)) && file(&["file-write-create"], named(scene, to)),
        Operation::Network(Network::Own) => address(&["network-bind", "network-inbound", "network-outbound"], 8080),
        Operation::Network(Network::Machine) => address(&["network-outbound"], 8081),
        Operation::Network(Network::Proxy) => address(&["network-outbound"], PROXY),
        Operation::Socket(place) => evaluator.allows_all(&["network-outbound"], &About::Socket(&named(scene, place))),
    })
}

/// The real path of what is opened: links are followed.
fn opened(scene: &Scene, place: &str) -> PathBuf {
    let path = lies(scene, place);
    on_a_mac(&fs::canonicalize(&path).unwrap_or(path))
}

/// The real path of a name in a folder: what a link of that name leads to does not matter.
fn named(scene: &Scene, place: &str) -> PathBuf {
    let path = lies(scene, place);
    let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap());
    on_a_mac(&fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf()).join(name))
}

/// Private folders are used where they lie; a home that there is none of is the person's.
fn lies(scene: &Scene, place: &str) -> PathBuf {
    let Host { home, .. } = &scene.host;
    match scene.spot(place) {
        Spot::Host(path) => path,
        Spot::Temporary(rest) => scene.session.private.join("tmp").join(rest),
        Spot::Private(rest) if scene.plan.roots.iter().any(|root| root.target == *home) => scene.session.private.join("home").join(rest),
        Spot::Private(rest) => home.join(rest),
    }
}

/// The path by which the kernel of a Mac would know it.
fn on_a_mac(path: &Path) -> PathBuf {
    let link = ["/etc", "/tmp", "/var"].into_iter().any(|link| path.starts_with(link));
    if link { Path::new("/private").join(path.strip_prefix("/").unwrap()) } else { path.to_path_buf() }
}
