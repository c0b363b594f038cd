//! What the prefix says of files, and whether it is so.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use portcullis::policy;
use serde_json::{Value, json};

use super::{
    Report,
    said::{self, List, Spot, between, granted, named},
    world::{Plant, SECRET, World, difference},
};

const READS: (&str, &str) = ("Readable: ", ".");
const WRITES: (&str, &str) = (
    "Writable, and readable too: ",
    ". No other file or folder is writable, but for a /dev/shm of each call's own and devices such as /dev/null.",
);
const DENY: (&str, &str) = (
    "Where they exist, neither readable nor writable, even inside the above: ",
    ". Names with a * do not count inside node_modules and site-packages.",
);
const PROTECT: (&str, &str) = (
    "Never writable: ",
    ". Those without a * cannot be created either: where one is absent, an empty read-only file or folder may stand in its place. One with a * that a call makes is renamed when the call ends: .refused is put behind its name. Names with a * do not count inside node_modules and site-packages.",
);

/// Both lists of a policy as its sentences say them, for what one of them implies of the other.
pub struct Granted {
    read: Vec<List>,
    write: Vec<List>,
    deny: List,
}

impl Granted {
    pub fn of(world: &World) -> Result<Self, String> {
        let claims = policy::claims(&world.policy);
        let text = |kind| claims.iter().find(|claim| claim.kind == kind).map(|claim| claim.text.clone());
        let (files, anchors) = (&world.policy.filesystem, world.anchors());
        let read = text(policy::ClaimKind::Reads).ok_or("nothing is said of reading")?;
        let write = text(policy::ClaimKind::Writes).ok_or("nothing is said of writing")?;
        let deny = match text(policy::ClaimKind::Deny) {
            Some(text) => said::list(between(&text, DENY.0, DENY.1)?, &files.deny, &anchors)?,
            None => List::default(),
        };
        Ok(Self {
            read: said::lists(between(&read, READS.0, READS.1)?, &files.read, &anchors)?,
            write: said::lists(between(&write, WRITES.0, WRITES.1)?, &files.write, &anchors)?,
            deny,
        })
    }

    fn readable(&self, path: &Path) -> bool {
        let spot = Spot::Host(path.to_path_buf());
        !self.denied(path) && (granted(&self.read, &spot) || granted(&self.write, &spot))
    }

    pub fn writable(&self, path: &Path) -> bool {
        !self.denied(path) && granted(&self.write, &Spot::Host(path.to_path_buf()))
    }

    fn denied(&self, path: &Path) -> bool {
        self.deny.hosts().any(|denied| path.starts_with(denied))
    }

    /// Every place of the host's that a list names.
    fn places(&self) -> BTreeSet<PathBuf> {
        let all = named(&self.read).into_iter().chain(named(&self.write));
        all.filter_map(|spot| if let Spot::Host(path) = spot { Some(path) } else { None }).collect()
    }

    /// Whether `path` lies above something that may be seen, so that it has to be there as a folder.
    fn leads_on(&self, path: &Path) -> bool {
        self.places().iter().chain(self.deny.hosts().map(Path::to_path_buf).collect::<Vec<_>>().iter()).any(|place| place.starts_with(path))
            || Path::new("/run/portcullis/outputs").starts_with(path)
    }
}

fn top_level() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

pub fn fails(answer: &Value) -> bool {
    answer.get("errno").is_some_and(|errno| !errno.is_null())
}

pub fn reads(world: &World, _text: &str, report: &mut Report) -> Result<(), String> {
    for plant in [Plant::Folders, Plant::Files] {
        world.rebuild(plant);
        let granted = Granted::of(world)?;
        for place in granted.places() {
            world.plant(&place, plant, &format!("at {}", place.display()));
        }
        let mut paths: BTreeSet<PathBuf> = granted.places();
        paths.extend(granted.places().iter().flat_map(|place| samples(place)));
        paths.extend(
            ["outside", "outside/file", "outside/folder/file", "state", "state/log.jsonl", "home/notes.txt"]
                .map(|path| world.base().join(path)),
        );
        for folder in top_level().into_iter().filter(|folder| !["/proc", "/dev", "/tmp"].contains(&folder.to_str().unwrap())) {
            paths.extend(fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).take(40));
            paths.insert(folder);
        }
        paths.retain(|path| path.exists());
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let answers = world.inside(&paths.iter().map(|path| json!(["read", path])).collect::<Vec<_>>())?;
        for (path, answer) in paths.iter().zip(&answers) {
            let real = fs::canonicalize(path).unwrap();
            if granted.readable(path) || granted.readable(&real) {
                report.must(same(path, answer), || format!("{} is said to be readable: {answer}", path.display()));
            } else if granted.leads_on(path) || granted.leads_on(&real) {
                // There only because something below it is; none of what else the host has there.
                let shown = answer["list"].as_array().cloned().unwrap_or_default();
                let known = |name: &Value| {
                    let below = path.join(name.as_str().unwrap());
                    granted.leads_on(&below) || granted.readable(&below) || below == Path::new("/var/tmp")
                };
                let odd: Vec<&Value> = shown.iter().filter(|name| !known(name)).collect();
                report.must(odd.is_empty() || is_private(world, path), || format!("{} is not granted and shows {odd:?}", path.display()));
            } else {
                report.must(fails(answer), || format!("{} is not said to be readable: {answer}", path.display()));
            }
            report.must(!answer.to_string().contains(SECRET), || format!("{} shows a secret", path.display()));
        }
    }
    Ok(())
}

fn is_private(world: &World, path: &Path) -> bool {
    path == world.home() || path == Path::new("/tmp")
}

/// A few files below a place that this user can read outside.
fn samples(place: &Path) -> Vec<PathBuf> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).take(200).collect::<Vec<_>>();
    let mut files: Vec<PathBuf> = entries(place);
    files.extend(entries(place).iter().filter(|path| path.is_dir()).take(20).flat_map(|folder| entries(folder).into_iter().take(3)));
    files.retain(|path| path.is_file() && fs::File::open(path).is_ok());
    files.truncate(20);
    files
}

/// Whether the inside shows what the outside has. A folder in the workspace may have more in it for as long as a sandbox lives.
fn same(path: &Path, answer: &Value) -> bool {
    if path.is_dir() {
        let Some(shown) = answer["list"].as_array() else { return fs::read_dir(path).is_err() };
        let shown: BTreeSet<&str> = shown.iter().filter_map(Value::as_str).collect();
        return fs::read_dir(path).unwrap().all(|entry| shown.contains(entry.unwrap().file_name().to_string_lossy().as_ref()));
    }
    // Root outside may read what root inside, without any capability, may not.
    let Ok(content) = fs::read(path) else { return true };
    let start: String = content.iter().take(4096).map(|byte| char::from(*byte)).collect();
    answer["text"].as_str() == Some(&start) || unreadable_by_its_mode(path)
}

fn unreadable_by_its_mode(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).unwrap();
    let user = nix::unistd::getuid().as_raw();
    let bit = if metadata.uid() == user { 0o400 } else { 0o004 };
    metadata.mode() & bit == 0
}

pub fn writes(world: &World, _text: &str, report: &mut Report) -> Result<(), String> {
    const NEW: &str = "portcullis-written";
    for plant in [Plant::Folders, Plant::Files] {
        world.rebuild(plant);
        let granted = Granted::of(world)?;
        for place in granted.places() {
            world.plant(&place, plant, "as it was");
        }
        let before = world.snapshot();
        let mut places: BTreeSet<PathBuf> = granted.places();
        places.extend(top_level().into_iter().chain(["/".into(), "/var/tmp".into(), "/dev/pts".into(), "/run/portcullis/outputs".into()]));
        places.extend(
            ["outside", "outside/file", "state", "home", "home/notes.txt", "home/work/src", "extra/inner/file", "more"]
                .map(|path| world.base().join(path)),
        );
        let places: Vec<PathBuf> = places.into_iter().collect();
        let request =
            |place: &PathBuf| if place.is_file() { json!(["append", place, NEW]) } else { json!(["write", place.join(NEW), NEW]) };
        let answers = world.inside(&places.iter().map(request).collect::<Vec<_>>())?;
        let mut expected = BTreeSet::new();
        for (place, answer) in places.iter().zip(&answers) {
            // Of a cache that is a folder there is a private copy.
            let copied = is_cache(world, place) && granted.readable(place) && place.exists();
            if copied && place.is_file() {
                report.must(fs::read(place).is_ok_and(|content| content == b"as it was"), || format!("{} changed", place.display()));
                continue;
            }
            let private = private_spot(world, place).map(|spot| said::granted(&granted.write, &spot)).or(copied.then_some(true));
            let (may, seen) = match private {
                // What is at the place is the session's own; the host's is another.
                Some(may) => (may, false),
                None => (granted.writable(place) && place.exists(), true),
            };
            report.must(answer["ok"] == true || !may, || format!("{} is said to be writable: {answer}", place.display()));
            report.must(fails(answer) || may, || format!("{} is not said to be writable, and was written", place.display()));
            let target = if place.is_file() { place.clone() } else { place.join(NEW) };
            let arrived = fs::read(&target).is_ok_and(|content| String::from_utf8_lossy(&content).ends_with(NEW));
            report.must(arrived == (may && seen), || format!("{} on the host: written is {arrived}", target.display()));
            if may && seen {
                expected.insert(target);
            }
        }
        let changed: BTreeSet<PathBuf> = difference(&before, &world.snapshot()).into_iter().collect();
        report.must(changed == expected, || format!("changed on the host: {changed:?}; written: {expected:?}"));
        let requests = ["/dev/shm/new", "/dev/new", "/dev/pts/new", "/proc/new", "/sys/new"].map(|path| json!(["write", path, "x"]));
        let answers = world.inside(&requests)?;
        report.must(answers[0]["ok"] == true && !Path::new("/dev/shm/new").exists(), || format!("/dev/shm: {}", answers[0]));
        report.must(answers[1..].iter().all(fails), || format!("beside /dev/shm: {answers:?}"));
        let answers = world.inside(&[
            json!(["read", "/dev/shm"]),
            json!(["append", "/dev/null", "x"]),
            json!(["append", "/proc/sys/kernel/pid_max", ""]),
        ])?;
        report.must(answers[0]["list"] == json!([]), || format!("/dev/shm is not the call's own: {}", answers[0]));
        report.must(answers[1]["ok"] == true && fails(&answers[2]), || format!("/dev/null, /proc/sys: {answers:?}"));
    }
    Ok(())
}

/// The private folder that `place` is, or lies in without anything of the host's between.
fn private_spot(world: &World, place: &Path) -> Option<Spot> {
    let hides = |kind| policy::claims(&world.policy).iter().any(|claim| claim.kind == kind);
    // `/var/tmp` leads to `/tmp` inside, unless the made-up world itself lies there.
    let temporary = place == Path::new("/tmp") || (place == Path::new("/var/tmp") && !world.base().starts_with("/var/tmp"));
    if temporary && hides(policy::ClaimKind::PrivateTemporary) {
        return Some(Spot::Temporary);
    }
    let unnamed = place == world.home().join("notes.txt");
    ((place == world.home() || unnamed) && hides(policy::ClaimKind::PrivateHome)).then_some(Spot::Home)
}

/// Whether a place lies in a package cache of which the private home is said to hold a copy that can be written.
fn is_cache(world: &World, place: &Path) -> bool {
    let said = policy::claims(&world.policy).iter().any(|claim| claim.text.contains("it holds private copies, which can be written."));
    let caches = policy::groups::group("caches").unwrap().unwrap();
    said && caches.rules.iter().any(|rule| matches!(&rule.place, policy::Place::Home(below) if place.starts_with(world.home().join(below))))
}

/// Two places for each glob: at the root, and further down.
fn instances(world: &World, glob: &str) -> Vec<PathBuf> {
    let at = |folders: &str| world.workspace().join(glob.replace("**/", folders).replace('*', "probe"));
    if glob.contains("**/") { vec![at(""), at("src/deep/")] } else { vec![at("")] }
}

pub fn deny(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let list = said::list(between(text, DENY.0, DENY.1)?, &world.policy.filesystem.deny, &world.anchors())?;
    for plant in [Plant::Files, Plant::Folders] {
        world.rebuild(plant);
        let mut places: Vec<PathBuf> = list.hosts().map(Path::to_path_buf).collect();
        places.extend(list.globs().flat_map(|glob| instances(world, glob)));
        for place in &places {
            world.plant(place, plant, SECRET);
        }
        places.retain(|place| place.exists());
        let before = world.snapshot();
        let (mut requests, mut about) = (Vec::new(), Vec::new());
        for place in &places {
            let mut ask = |request: Value| {
                requests.push(request);
                about.push(place);
            };
            ask(json!(["read", place]));
            if !place.starts_with(world.base()) {
                ask(json!(["append", place, ""]));
                continue;
            }
            // In the private home, what is above a closed place is the session's own and may be moved; nothing lies behind it.
            let stop = if place.starts_with(world.workspace()) { world.workspace() } else { place.parent().unwrap().to_path_buf() };
            ask(json!(["change", place, stop]));
            if plant == Plant::Folders {
                ask(json!(["read", place.join("inside")]));
                ask(json!(["change", place.join("inside"), place]));
                ask(json!(["create", place.join("new"), place]));
            }
        }
        let answers = world.inside(&requests)?;
        for ((request, place), answer) in requests.iter().zip(&about).zip(&answers) {
            let refused = if answer.get("did").is_some() { answer["did"] == json!([]) } else { fails(answer) };
            report.must(refused, || format!("{} is said to be closed: {request} gave {answer}", place.display()));
            report.must(!answer.to_string().contains(SECRET), || format!("{} shows its secret: {answer}", place.display()));
        }
        let changed = difference(&before, &world.snapshot());
        report.must(changed.is_empty(), || format!("changed on the host: {changed:?}"));
    }
    Ok(())
}

pub fn protect(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let list = said::list(between(text, PROTECT.0, PROTECT.1)?, &world.policy.filesystem.protect, &world.anchors())?;
    let fixed: Vec<PathBuf> = list.hosts().map(Path::to_path_buf).collect();
    let wild: Vec<PathBuf> = list.globs().flat_map(|glob| instances(world, glob)).filter(|place| !fixed.contains(place)).collect();
    let workspace = world.workspace();
    for plant in [Plant::Files, Plant::Folders] {
        world.rebuild(plant);
        let (mut requests, mut about) = (Vec::new(), Vec::new());
        for place in fixed.iter().chain(&wild) {
            world.plant(place, plant, "as it was");
        }
        let before = world.snapshot();
        for place in fixed.iter().chain(&wild) {
            let mut ask = |request: Value| {
                requests.push(request);
                about.push(place);
            };
            ask(json!(["change", place, workspace]));
            if place.is_dir() {
                ask(json!(["change", place.join("inside"), place]));
                ask(json!(["create", place.join("new"), place]));
            }
        }
        let answers = world.inside(&requests)?;
        for ((request, place), answer) in requests.iter().zip(&about).zip(&answers) {
            report.must(answer["did"] == json!([]), || {
                format!("{} is there and said to stay as it is: {request} gave {answer}", place.display())
            });
        }
        let changed = difference(&before, &world.snapshot());
        report.must(changed.is_empty(), || format!("changed on the host: {changed:?}"));
    }
    for plant in [Plant::Nothing, Plant::Repository] {
        world.rebuild(plant);
        let before = world.snapshot();
        let absent: Vec<&PathBuf> = fixed.iter().filter(|place| fs::symlink_metadata(place).is_err()).collect();
        let answers = world.inside(&absent.iter().map(|place| json!(["create", place, workspace])).collect::<Vec<_>>())?;
        for (place, answer) in absent.iter().zip(&answers) {
            report.must(answer["did"] == json!([]), || format!("{} is said to stay absent: {answer}", place.display()));
        }
        let answers = world.inside(&absent.iter().map(|place| json!(["read", place])).collect::<Vec<_>>())?;
        for (place, answer) in absent.iter().zip(&answers) {
            report.must(answer["list"] == json!([]) || answer["text"] == "" || fails(answer), || {
                format!("{} is absent and seen: {answer}", place.display())
            });
        }
        let changed = difference(&before, &world.snapshot());
        report.must(changed.is_empty(), || format!("changed on the host: {changed:?}"));
    }
    if Granted::of(world)?.writable(&workspace) {
        world.rebuild(Plant::Nothing);
        for place in &wild {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
        }
        fs::create_dir_all(workspace.join("node_modules/a")).unwrap();
        let answers = world.inside(&wild.iter().map(|place| json!(["write", place, "x"])).collect::<Vec<_>>())?;
        for (place, answer) in wild.iter().zip(&answers) {
            let mut refused = place.clone().into_os_string();
            refused.push(".refused");
            let renamed = !place.exists() && fs::read_to_string(&refused).is_ok_and(|text| text == "x");
            report.must(answer["ok"] == true && renamed, || format!("{} is said to be renamed: {answer}", place.display()));
        }
        let in_packages: BTreeSet<PathBuf> =
            wild.iter().filter_map(|place| Some(workspace.join("node_modules/a").join(place.file_name()?))).collect();
        let answers = world.inside(&in_packages.iter().map(|place| json!(["write", place, "x"])).collect::<Vec<_>>())?;
        for (place, answer) in in_packages.iter().zip(&answers) {
            report.must(answer["ok"] == true && place.exists(), || format!("{} lies in a package folder: {answer}", place.display()));
        }
    }
    Ok(())
}

pub fn private_temporary(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    report.reads(text, "/tmp is private to this session: empty at its start, gone at its end.");
    world.rebuild(Plant::Nothing);
    let mark = tempfile::Builder::new().prefix("portcullis-mark-").tempfile_in("/tmp").map_err(|error| error.to_string())?;
    let may = granted(&Granted::of(world)?.write, &Spot::Temporary);
    private(world, Path::new("/tmp"), mark.path(), &BTreeSet::new(), may, report)
}

pub fn private_home(world: &World, text: &str, report: &mut Report) -> Result<(), String> {
    let copies = text.split_once(" Of package caches that are named above (").map_or("", |(_, copies)| copies);
    report.must(
        text.starts_with(
            "~ is a private folder of this session: it holds only the places named above, and what is written there is gone at the end.",
        ) && (copies.is_empty() || copies.ends_with(") it holds private copies, which can be written.")),
        || format!("the sentence is {text:?}"),
    );
    world.rebuild(Plant::Folders);
    let granted = Granted::of(world)?;
    let mut places = granted.places();
    places.extend(granted.deny.hosts().map(Path::to_path_buf));
    for place in &places {
        world.plant(place, Plant::Folders, SECRET);
    }
    let home = world.home();
    let first = |place: &PathBuf| {
        place.strip_prefix(&home).ok().and_then(|below| Some(below.components().next()?.as_os_str().to_string_lossy().into_owned()))
    };
    let expected: BTreeSet<String> =
        places.iter().filter(|place| granted.readable(place) || granted.denied(place)).filter_map(first).collect();
    let may = said::granted(&granted.write, &Spot::Home);
    private(world, &home, &home.join("notes.txt"), &expected, may, report)
}

/// A private folder holds what is expected, hides `mark`, keeps what is written for the session, and is gone afterwards.
fn private(world: &World, folder: &Path, mark: &Path, expected: &BTreeSet<String>, may: bool, report: &mut Report) -> Result<(), String> {
    let list = |answer: &Value| -> BTreeSet<String> {
        let names = answer["list"].as_array().cloned().unwrap_or_default();
        // The made-up world may itself lie here.
        let own = world
            .base()
            .strip_prefix(folder)
            .ok()
            .and_then(|below| Some(below.components().next()?.as_os_str().to_string_lossy().into_owned()));
        names.iter().map(|name| name.as_str().unwrap().to_owned()).filter(|name| Some(name) != own.as_ref()).collect()
    };
    let new = folder.join("portcullis-left-behind");
    for _ in 0..2 {
        let answers = world.inside(&[json!(["read", folder]), json!(["read", mark]), json!(["write", new, "left behind"])])?;
        report.must(list(&answers[0]) == *expected, || format!("{} holds {:?}, and not {expected:?}", folder.display(), list(&answers[0])));
        report.must(fails(&answers[1]), || format!("{} of the host's is seen: {}", mark.display(), answers[1]));
        report.must((answers[2]["ok"] == true) == may, || format!("{} written: {}", new.display(), answers[2]));
        report.must(!new.exists(), || format!("{} is on the host", new.display()));
    }
    let path = new.display();
    let session = world.session(&[&format!("echo kept > {path}"), &format!("cat {path}")])?;
    if !session.asks {
        report.must(session.outputs[1].contains("kept") == may, || format!("a session's second call: {:?}", session.outputs));
    }
    report.must(!new.exists(), || format!("{} is on the host after a session", new.display()));
    let left: Vec<_> = fs::read_dir(world.base().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
    report.must(left.is_empty(), || format!("left behind in the temporary folder: {left:?}"));
    Ok(())
}
