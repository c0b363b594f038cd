//! Logs as somebody finds them who was not there: whole ones, and every way of changing them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use portcullis::{
    audit::{
        Event, Key, Keys, Log,
        ledger::{self, LedgerEvent},
        retention,
        verify::{FolderVerdict, Integrity, Trust, files_of, verify_folder, verify_log},
        walk::Kind,
    },
    policy::Recording,
};
use proptest::prelude::*;

const ONE: &str = "01900000-0000-7000-8000-000000000001";
const TWO: &str = "01900000-0000-7000-8000-000000000002";

struct Scene {
    state: tempfile::TempDir,
}

impl Scene {
    /// Two sessions that ended in order, each with records 0 (opened), 1 to 5, 6 (end) and 7 (closing checkpoint).
    fn new() -> Self {
        let scene = Self { state: tempfile::tempdir().unwrap() };
        for session in [ONE, TWO] {
            scene.session(session, 5).close().unwrap();
        }
        scene
    }

    fn session(&self, id: &str, records: usize) -> Log {
        let log = Log::create(self.state.path(), id, &Recording::default()).unwrap();
        for number in 0..records {
            log.append(Event::Revoked { grant: format!("grant {number} of {id}") }).unwrap();
        }
        log
    }

    fn folder(&self) -> PathBuf {
        self.state.path().join("log")
    }

    fn file(&self, session: &str) -> PathBuf {
        self.folder().join(format!("{session}.jsonl"))
    }

    fn keys(&self) -> Keys {
        Keys::of(self.state.path())
    }

    fn verify(&self) -> FolderVerdict {
        verify_folder(&self.folder(), &Trust { keys: Some(self.keys()), public: Vec::new() }, None).unwrap()
    }

    /// What is found besides what is only worth knowing, each kind once.
    fn kinds(&self) -> BTreeSet<Kind> {
        let verdict = self.verify();
        let logs = verdict.sessions.iter().chain(&verdict.ledger).flat_map(|log| &log.findings);
        logs.chain(&verdict.findings).map(|finding| finding.kind).collect()
    }

    fn change(&self, path: &Path, change: impl Fn(&mut Vec<String>)) {
        let text = fs::read_to_string(path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

#[test]
fn logs_that_nobody_touched_are_intact_and_complete() {
    let verdict = Scene::new().verify();
    assert_eq!((verdict.integrity(), verdict.complete(), verdict.sessions.len()), (Integrity::Intact, true, 2));
    assert!(verdict.sessions.iter().all(|log| log.records == 8 && log.signed == 8 && log.findings.is_empty()));
}

/// Each way of tampering, what is done, and the one name by which it has to be found.
#[test]
fn twenty_ways_of_tampering_are_each_found_and_named() {
    type Way = (&'static str, Box<dyn Fn(&Scene)>, Kind);
    fn on_lines(change: impl Fn(&mut Vec<String>) + 'static) -> Box<dyn Fn(&Scene)> {
        Box::new(move |scene| scene.change(&scene.file(ONE), &change))
    }
    fn on_ledger(change: impl Fn(&mut Vec<String>) + 'static) -> Box<dyn Fn(&Scene)> {
        Box::new(move |scene| scene.change(&ledger::path(&scene.folder()), &change))
    }
    let ways: Vec<Way> = vec![
        ("a word is changed", on_lines(|lines| lines[2] = lines[2].replace("grant 1", "grant 9")), Kind::Edited),
        ("a time is changed", on_lines(|lines| lines[2] = lines[2].replacen("\"time\":\"2", "\"time\":\"3", 1)), Kind::Edited),
        (
            "the clock that never goes back is changed",
            on_lines(|lines| lines[2] = lines[2].replacen("\"monotonic_ns\":", "\"monotonic_ns\":1", 1)),
            Kind::Edited,
        ),
        ("a blank is added", on_lines(|lines| lines[2] = lines[2].replacen("{\"v\"", "{ \"v\"", 1)), Kind::Edited),
        ("a field is added", on_lines(|lines| lines[2] = lines[2].replacen("{\"v\"", "{\"by\":\"nobody\",\"v\"", 1)), Kind::Edited),
        ("a seal is changed", on_lines(|lines| lines[2] = flip_seal(&lines[2])), Kind::Edited),
        (
            "a seal is taken away",
            on_lines(|lines| lines[2] = format!("{}}}", lines[2].split(",\"mac\"").next().unwrap())),
            Kind::Unreadable,
        ),
        ("a record is removed", on_lines(|lines| drop(lines.remove(2))), Kind::Missing),
        ("several are removed", on_lines(|lines| drop(lines.drain(2..5))), Kind::Missing),
        (
            "a record is removed and the others are renumbered",
            on_lines(|lines| {
                lines.remove(2);
                for (number, line) in lines.iter_mut().enumerate().skip(2) {
                    *line = line.replacen(&format!("\"seq\":{}", number + 1), &format!("\"seq\":{number}"), 1);
                }
            }),
            Kind::Edited,
        ),
        ("two change places", on_lines(|lines| lines.swap(2, 3)), Kind::Moved),
        ("one is doubled", on_lines(|lines| lines.insert(3, lines[2].clone())), Kind::Doubled),
        (
            "one is made up",
            on_lines(|lines| lines.insert(3, lines[2].replacen("\"seq\":2", "\"seq\":3", 1).replace("grant 1", "grant 7"))),
            Kind::Edited,
        ),
        ("a line is no record", on_lines(|lines| lines[2] = "nothing happened here".to_owned()), Kind::Unreadable),
        ("the beginning is cut off", on_lines(|lines| drop(lines.remove(0))), Kind::NoBeginning),
        ("the end is cut off", on_lines(|lines| lines.truncate(4)), Kind::CutOff),
        (
            "the end is cut off in the middle of a record",
            Box::new(|scene| {
                let text = fs::read_to_string(scene.file(ONE)).unwrap();
                fs::write(scene.file(ONE), &text[..text.len() - 40]).unwrap();
            }),
            Kind::CutOff,
        ),
        ("something is put behind the end", on_lines(|lines| lines.push(lines[2].clone())), Kind::AfterClose),
        (
            "a signature is changed",
            on_lines(|lines| {
                let at = lines[7].find("\"signature\":\"").unwrap() + 13;
                let other = if &lines[7][at..=at] == "0" { "1" } else { "0" };
                lines[7].replace_range(at..=at, other);
            }),
            Kind::BadSignature,
        ),
        (
            "a record of another session is put in",
            Box::new(|scene| {
                let other = fs::read_to_string(scene.file(TWO)).unwrap();
                scene.change(&scene.file(ONE), |lines| lines[2] = other.lines().nth(2).unwrap().to_owned());
            }),
            Kind::Foreign,
        ),
        ("a log is put in another's place", Box::new(|scene| copy(&scene.file(TWO), &scene.file(ONE))), Kind::Foreign),
        ("a log is removed", Box::new(|scene| fs::remove_file(scene.file(ONE)).unwrap()), Kind::LogMissing),
        ("a log is emptied", Box::new(|scene| fs::write(scene.file(ONE), "").unwrap()), Kind::CutOff),
        (
            "a log is sneaked in",
            Box::new(|scene| copy(&scene.file(ONE), &scene.folder().join("01900000-0000-7000-8000-000000000009.jsonl"))),
            Kind::NotEntered,
        ),
        (
            "a record is blotted out without a word in the ledger",
            on_lines(|lines| {
                lines[2] = String::from_utf8(retention::erased(lines[2].as_bytes(), &mut BTreeSet::from([2])).unwrap()).unwrap();
            }),
            Kind::Erased,
        ),
        ("the ledger is removed", Box::new(|scene| fs::remove_file(ledger::path(&scene.folder())).unwrap()), Kind::LedgerMissing),
        (
            "an entry of the ledger is changed",
            on_ledger(|lines| lines[1] = lines[1].replace("\"records\":8", "\"records\":4")),
            Kind::Edited,
        ),
        ("an entry of the ledger is removed", on_ledger(|lines| drop(lines.remove(1))), Kind::Missing),
    ];
    assert!(ways.len() >= 20);
    for (what, tamper, kind) in ways {
        let scene = Scene::new();
        tamper(&scene);
        let verdict = scene.verify();
        assert!(scene.kinds().contains(&kind), "{what}: {kind:?} is not among {:?}", scene.kinds());
        assert!(verdict.integrity() == Integrity::Broken || !verdict.complete(), "{what} passed");
        assert_eq!(
            verdict.integrity() == Integrity::Broken,
            kind.breaks_integrity() || scene.kinds().iter().any(|kind| kind.breaks_integrity()),
            "{what}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

fn flip_seal(line: &str) -> String {
    let at = line.len() - 4;
    let other = if &line[at..=at] == "0" { "1" } else { "0" };
    let mut line = line.to_owned();
    line.replace_range(at..=at, other);
    line
}

#[test]
fn both_cut_back_alike_is_found_by_a_head_that_was_kept_elsewhere() {
    let scene = Scene::new();
    let trust = Trust { keys: Some(scene.keys()), public: Vec::new() };
    let ledger = scene.verify().ledger.unwrap();
    let anchor = (ledger.records, ledger.head);
    assert!(verify_folder(&scene.folder(), &trust, Some(&anchor)).unwrap().complete());
    fs::remove_file(scene.file(TWO)).unwrap();
    scene.change(&ledger::path(&scene.folder()), |lines| lines.retain(|line| !line.contains(TWO)));
    assert!(scene.verify().complete(), "without the head nothing could tell");
    let verdict = verify_folder(&scene.folder(), &trust, Some(&anchor)).unwrap();
    assert!(verdict.ledger.unwrap().findings.iter().any(|finding| finding.kind == Kind::AnchorMissing));
}

#[test]
fn whoever_has_the_public_half_alone_can_tell_and_whoever_has_none_knows_that_they_cannot() {
    let scene = Scene::new();
    let files = files_of(&scene.folder(), ONE);
    let public = vec![scene.keys().current().unwrap().public()];
    let with = |public: Vec<String>| verify_log(&files, None, &Trust { keys: None, public }, None).unwrap();
    assert_eq!(with(public.clone()).integrity, Integrity::Intact);
    assert_eq!(with(Vec::new()).integrity, Integrity::Unproven);
    assert_eq!(with(vec![Key::ephemeral().unwrap().public()]).integrity, Integrity::Unproven);
    scene.change(&scene.file(ONE), |lines| lines[2] = lines[2].replace("grant 1", "grant 9"));
    let verdict = with(public);
    assert_eq!(verdict.integrity, Integrity::Broken);
    assert!(verdict.findings.iter().any(|finding| finding.kind == Kind::HeadDiffers));
}

#[test]
fn a_log_of_another_machine_sealed_with_another_key_is_nobodys_word_here() {
    let (here, there) = (Scene::new(), Scene::new());
    fs::copy(there.file(ONE), here.file(ONE)).unwrap();
    let verdict = here.verify();
    let log = verdict.sessions.iter().find(|log| log.session == ONE).unwrap();
    assert!(log.integrity > Integrity::Intact && log.findings.iter().any(|finding| finding.kind == Kind::UnknownKey));
}

#[test]
fn what_is_erased_by_its_owner_is_gone_and_the_log_stays_whole() {
    let scene = Scene::new();
    let key = scene.keys().current().unwrap();
    retention::erase(&scene.folder(), &key, ONE, &BTreeSet::from([2, 4])).unwrap();
    let text = fs::read_to_string(scene.file(ONE)).unwrap();
    assert!(text.contains("grant 0") && !text.contains("grant 1") && !text.contains("grant 3"));
    let verdict = scene.verify();
    assert_eq!((verdict.integrity(), verdict.complete(), verdict.sessions[0].erased), (Integrity::Intact, true, 2));
    let error = retention::erase(&scene.folder(), &key, ONE, &BTreeSet::from([3, 99])).unwrap_err();
    assert!(error.to_string().contains("no record 99"), "{error}");
    assert!(fs::read_to_string(scene.file(ONE)).unwrap().contains("grant 2"), "all or nothing");
}

#[test]
fn old_logs_go_by_themselves_only_and_the_ledger_knows() {
    let scene = Scene::new();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(100 * 24 * 3600);
    fs::File::open(scene.file(ONE)).unwrap().set_modified(long_ago).unwrap();
    let (key, keep) = (scene.keys().current().unwrap(), std::time::Duration::from_secs(90 * 24 * 3600));
    assert_eq!(retention::prune(&scene.folder(), &key, keep, true).unwrap(), [ONE]);
    assert!(scene.file(ONE).exists());
    assert_eq!(retention::prune(&scene.folder(), &key, keep, false).unwrap(), [ONE]);
    assert!(!scene.file(ONE).exists() && scene.file(TWO).exists());
    let verdict = scene.verify();
    assert_eq!((verdict.integrity(), verdict.complete(), verdict.sessions.len()), (Integrity::Intact, true, 1));
}

#[test]
fn what_is_held_stays_whole_until_it_is_released() {
    let scene = Scene::new();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(100 * 24 * 3600);
    let key = scene.keys().current().unwrap();
    for session in [ONE, TWO] {
        fs::File::open(scene.file(session)).unwrap().set_modified(long_ago).unwrap();
    }
    ledger::enter(&scene.folder(), &key, LedgerEvent::Held { session: ONE.to_owned(), reason: "incident 12".to_owned() }).unwrap();
    let before = fs::read(scene.file(ONE)).unwrap();
    let records = BTreeSet::from([2]);
    let refused = retention::erase(&scene.folder(), &key, ONE, &records).unwrap_err().to_string();
    assert!(refused.contains("is held (incident 12)"), "{refused}");
    let keep = std::time::Duration::from_secs(90 * 24 * 3600);
    assert_eq!(retention::prune(&scene.folder(), &key, keep, false).unwrap(), [TWO]);
    assert_eq!(fs::read(scene.file(ONE)).unwrap(), before, "what is held was changed");
    assert_eq!((scene.verify().integrity(), scene.verify().complete()), (Integrity::Intact, true));
    ledger::enter(&scene.folder(), &key, LedgerEvent::Released { session: ONE.to_owned() }).unwrap();
    assert_eq!(retention::prune(&scene.folder(), &key, keep, false).unwrap(), [ONE]);
    assert!(!scene.file(ONE).exists() && scene.verify().complete());
}

#[test]
fn logs_sealed_before_and_after_a_change_of_keys_verify_together() {
    let scene = Scene::new();
    let before = scene.keys().current_id().unwrap();
    let key = scene.keys().rotate().unwrap();
    ledger::enter(&scene.folder(), &key, LedgerEvent::KeyRotated { before, public: key.public() }).unwrap();
    scene.session("01900000-0000-7000-8000-000000000003", 3).close().unwrap();
    let verdict = scene.verify();
    assert_eq!((verdict.integrity(), verdict.complete(), verdict.sessions.len()), (Integrity::Intact, true, 3));
}

#[test]
fn a_writer_that_is_there_or_that_died_is_told_from_one_that_ended() {
    let scene = Scene::new();
    let id = "01900000-0000-7000-8000-000000000003";
    let log = scene.session(id, 300);
    assert!(scene.kinds().contains(&Kind::Running));
    assert!(scene.verify().complete());
    drop(log);
    assert!(scene.kinds().contains(&Kind::NotClosed));
    assert_eq!(scene.verify().integrity(), Integrity::Intact);
    let text = fs::read_to_string(scene.file(id)).unwrap();
    fs::write(scene.file(id), format!("{text}{{\"v\":2,\"se")).unwrap();
    let kinds = scene.kinds();
    assert!(kinds.contains(&Kind::Torn) && kinds.contains(&Kind::NotClosed));
    assert_eq!(scene.verify().integrity(), Integrity::Intact, "a crash is no tampering");
}

#[test]
fn several_agents_write_to_one_folder() {
    let scene = Scene::new();
    std::thread::scope(|scope| {
        for number in 10..18 {
            let scene = &scene;
            scope.spawn(move || scene.session(&format!("01900000-0000-7000-8000-0000000000{number}"), 300).close().unwrap());
        }
    });
    let verdict = scene.verify();
    assert_eq!((verdict.integrity(), verdict.complete(), verdict.sessions.len()), (Integrity::Intact, true, 10), "{:?}", scene.kinds());
}

#[test]
fn hostile_words_stay_within_their_record() {
    let scene = Scene::new();
    let log = scene.session("01900000-0000-7000-8000-000000000003", 0);
    for words in ["\n{\"v\":2,\"seq\":1}\n", "\",\"mac\":\"00\"}\n{", "\u{1b}[2J\u{202e}\0", "x".repeat(10 << 20).as_str()] {
        log.append(Event::Revoked { grant: words.to_owned() }).unwrap();
    }
    log.close().unwrap();
    let verdict = scene.verify();
    assert_eq!((verdict.integrity(), verdict.sessions[2].records), (Integrity::Intact, 7));
}

/// The vectors of `tests/audit/`: a log, the key that sealed it, and what each record's digest, seal and head come to, for whoever writes another verifier.
#[test]
fn the_vectors_verify() {
    use portcullis::audit::chain::{Chain, hex, open, sha256};
    let text = include_str!("audit/vector.jsonl");
    let secrets = include_str!("audit/vector.key");
    let state = tempfile::tempdir().unwrap();
    let id = include_str!("audit/vector.id").trim();
    let folder = state.path().join("keys");
    fs::create_dir_all(&folder).unwrap();
    use std::os::unix::fs::OpenOptionsExt;
    let mut key = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(format!("{id}.key"))).unwrap();
    std::io::Write::write_all(&mut key, secrets.as_bytes()).unwrap();
    let log = state.path().join("vector.jsonl");
    fs::write(&log, text).unwrap();
    let verdict = verify_log(&[log], None, &Trust { keys: Some(Keys::in_folder(&folder)), public: Vec::new() }, None).unwrap();
    assert_eq!((verdict.integrity, verdict.complete, verdict.records), (Integrity::Intact, true, 5));
    let mut chain = Chain::new(&verdict.session, None);
    let mut steps = String::new();
    for line in text.lines() {
        let (body, mac) = open(line.as_bytes()).unwrap();
        chain.advance(None, &sha256(body));
        steps.push_str(&format!("{} {} {}\n", hex(&sha256(body)), hex(&mac), hex(&chain.head)));
    }
    assert_eq!(steps, include_str!("audit/vector.steps"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever bytes stand in a log, verifying ends with a verdict, and never with `intact` if they are others than were written.
    #[test]
    fn no_change_of_a_byte_passes(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let scene = Scene::new();
        let mut bytes = fs::read(scene.file(ONE)).unwrap();
        let at = at.index(bytes.len());
        let before = std::mem::replace(&mut bytes[at], byte);
        fs::write(scene.file(ONE), &bytes).unwrap();
        let verdict = scene.verify();
        let whole = verdict.integrity() == Integrity::Intact && verdict.complete();
        prop_assert_eq!(whole, before == byte);
    }

    #[test]
    fn any_bytes_are_verified_without_stumbling(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("log.jsonl");
        fs::write(&file, &bytes).unwrap();
        let verdict = verify_log(&[file], None, &Trust::default(), None).unwrap();
        prop_assert!(verdict.integrity > Integrity::Intact);
    }
}
