#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as tests do")]

use proptest::prelude::*;

use super::*;
use crate::policy::{self, Access, Judge, judge::Reason};

const STATE: &str = "/home/me/state";
const PRIVATE: &str = "/scratch/portcullis-x";

fn anchors() -> Anchors {
    Anchors { workspace: "/home/me/project".into(), home: "/home/me".into(), temporary: "/tmp".into() }
}

fn at(touch: Touch, path: &str, outcome: Outcome) -> Observation {
    let path = PathBuf::from(path);
    let anchor = if touch == Touch::Write { path.parent().unwrap_or(&path).to_path_buf() } else { path.clone() };
    let folder = touch == Touch::Write;
    let reach = Reach::Path { touch, named: path.clone(), link: false, path, anchor, folder, able: true, outcome };
    Observation { reach, program: "tool".to_owned(), times: 1 }
}

fn read(path: &str) -> Observation {
    at(Touch::Read, path, Outcome::Done)
}

fn write(path: &str) -> Observation {
    at(Touch::Write, path, Outcome::Refused)
}

/// What is proposed under a preset, its text, and the policy that the text is.
fn proposed(preset: &str, observations: &[Observation]) -> (Proposal, String, Policy) {
    let (policy, anchors) = (policy::preset(preset).unwrap(), anchors());
    let floor = floor(&policy, &anchors, Path::new(STATE));
    let made = BTreeSet::new();
    let base = Base { policy: &policy, extends: preset, anchors: &anchors, floor: &floor, private: Path::new(PRIVATE), made: &made };
    let proposal = propose(&base, observations);
    let text = render(&base, &proposal, "tool \u{1b}[2J \"quoted\"\nname = 'forged'");
    let loaded = policy::load::check_text("learned.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}")).complete();
    (proposal, text, loaded)
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

#[test]
fn what_the_base_lists_is_repeated_and_what_it_lacks_is_added() {
    let (_, text, policy) = proposed("workspace-write", &[read("/srv/data/file"), write("/srv/out/file")]);
    assert!(
        text.contains("\"@system\", \"@toolchains\", \"@workspace\", # as workspace-write has it\n    \"/srv/data/file\", # tool, once"),
        "{text}"
    );
    assert!(text.contains("\"@workspace\", \"@tmp\", \"@home\", # as workspace-write has it\n    \"/srv/out\", # tool, once"), "{text}");
    let judge = Judge::new(&policy, &anchors());
    for (path, access, expected) in [
        ("/usr/bin/ls", Access::Read, true),
        ("/home/me/project/src", Access::Write, true),
        ("/srv/data/file", Access::Read, true),
        ("/srv/data/other", Access::Read, false),
        ("/srv/data/file", Access::Write, false),
        ("/srv/out/file", Access::Write, true),
    ] {
        assert_eq!(judge.judge(Path::new(path), access).allowed, expected, "{path}");
    }
}

#[test]
fn what_the_base_covers_is_not_proposed() {
    let seen = [read("/usr/bin/ls"), read("/home/me/project/a"), write("/home/me/project/a"), write("/tmp/a"), write("/home/me/.cache/x")];
    assert!(proposed("workspace-write", &seen).0.is_empty());
    assert_eq!(proposed("locked", &seen).0.withheld.len(), 2, "neither the workspace nor a home's caches are given as a whole");
}

#[test]
fn a_secret_of_another_project_is_not_proposed_nor_a_folder_that_holds_it() {
    let names = [".env", "a", "b", "c", "d", "e"];
    let (proposal, ..) = proposed("workspace-write", &names.map(|name| read(&format!("/srv/other/{name}"))));
    assert_eq!(texts(&proposal.read), ["/srv/other/a", "/srv/other/b", "/srv/other/c", "/srv/other/d", "/srv/other/e"]);
    assert_eq!(proposal.withheld[0].what, "/srv/other/.env");
    let (proposal, ..) = proposed("workspace-write", &names.map(|name| read(&format!("/srv/other/{name}.example"))));
    assert_eq!(texts(&proposal.read), ["/srv/other"]);
}

#[test]
fn files_of_the_running_kernel_are_not_proposed_but_by_a_group() {
    let seen = [read("/sys/fs/cgroup/memory/job-1/limit"), read("/sys/devices/system/cpu/online")];
    assert!(proposed("workspace-write", &seen).0.is_empty());
    let bare = Policy { filesystem: policy::Filesystem::default(), ..policy::preset("locked").unwrap() };
    let (anchors, made) = (anchors(), BTreeSet::new());
    let base = Base { policy: &bare, extends: "bare", anchors: &anchors, floor: &[], private: Path::new(PRIVATE), made: &made };
    assert_eq!(texts(&propose(&base, &seen).read), ["@system"]);
}

#[test]
fn what_is_also_written_in_the_private_home_stays_there() {
    let (proposal, ..) = proposed("workspace-write", &[read("/home/me/.tool"), read("/home/me/.other"), write("/home/me/.tool")]);
    assert_eq!(texts(&proposal.read), ["~/.other"]);
    assert!(proposal.withheld[0].reason.contains("also writes there"), "{proposal:?}");
}

#[test]
fn a_group_is_named_where_a_path_lies_in_one_and_only_there() {
    let (proposal, ..) = proposed("locked", &[read("/home/me/.cargo/bin/cargo"), read("/home/me/.rustup/settings.toml"), read("/srv/x/y")]);
    assert_eq!(texts(&proposal.read), ["@rust", "/srv/x/y"]);
}

#[test]
fn files_of_a_wide_folder_stay_files_and_writing_into_one_is_not_proposed() {
    let seen: Vec<_> = (0..6).map(|number| read(&format!("/home/me/.config/{number}"))).collect();
    assert_eq!(proposed("workspace-write", &seen).0.read.len(), 6);
    for path in ["/srv/file", "/var/lib/file", "/home/other/file", "/scratch/file"] {
        let (proposal, ..) = proposed("workspace-write", &[write(path)]);
        assert!(proposal.is_empty() && proposal.withheld.len() == 1, "{path}: {proposal:?}");
    }
}

#[test]
fn a_folder_that_holds_something_denied_stands_for_nothing() {
    let policy = policy::preset("workspace-write").unwrap();
    let anchors = anchors();
    let made = BTreeSet::new();
    let held = [Floor { path: "/srv/d/key".into(), reason: "test".to_owned() }];
    let seen: Vec<_> = (0..5).map(|number| read(&format!("/srv/d/{number}"))).collect();
    for (floor, expected) in [(&held[..], 5), (&[], 1)] {
        let base = Base { policy: &policy, extends: "workspace-write", anchors: &anchors, floor, private: Path::new(PRIVATE), made: &made };
        assert_eq!(propose(&base, &seen).read.len(), expected);
    }
}

#[test]
fn what_only_another_layer_could_give_is_not_proposed() {
    let bound =
        policy::load::check_text("bound.toml", "schema = 1\nname = \"b\"\n[filesystem]\nread = [\"@system\", \"/srv/fine\"]").unwrap();
    let mut policy = policy::preset("workspace-write").unwrap();
    policy::layers::narrow(&mut policy, &bound, policy::layers::Role::System);
    let (anchors, made) = (anchors(), BTreeSet::new());
    let base =
        Base { policy: &policy, extends: "workspace-write", anchors: &anchors, floor: &[], private: Path::new(PRIVATE), made: &made };
    let proposal = propose(&base, &[read("/srv/fine/file"), read("/srv/other/file")]);
    assert_eq!(texts(&proposal.read), ["/srv/fine/file"]);
    assert!(proposal.withheld[0].reason.contains("bound.toml:4"), "{proposal:?}");
}

#[test]
fn names_that_a_policy_cannot_hold_are_not_proposed_and_odd_ones_are() {
    let odd = ["/srv/d/we ird", "/srv/d/q\"uote\\", "/srv/d/#hash", "/srv/e/\u{202e}turned"];
    let (proposal, text, policy) = proposed("workspace-write", &odd.map(read));
    assert_eq!(proposal.read.len(), 4, "{text}");
    assert!(!text.contains('\u{202e}'), "{text}");
    let judge = Judge::new(&policy, &anchors());
    assert!(odd.iter().all(|path| judge.judge(Path::new(path), Access::Read).allowed), "{text}");
    let (proposal, ..) = proposed("workspace-write", &["/srv/d/gl*ob", "/srv/d/new\nline"].map(read));
    assert!(proposal.is_empty() && proposal.withheld.len() == 2, "{proposal:?}");
}

#[test]
fn only_a_lack_of_loopback_is_made_up_for() {
    let contact = |address: &str, listens| Observation {
        reach: Reach::Address { address: address.parse().unwrap(), listens },
        program: "tool".to_owned(),
        times: 1,
    };
    let seen = [contact("[::1]:80", false), contact("0.0.0.0:8080", true), contact("192.0.2.1:443", false)];
    for (preset, loopback, elsewhere) in [("read-only", true, 1), ("workspace-write", false, 1), ("networked", false, 0)] {
        let (proposal, _, policy) = proposed(preset, &seen);
        assert_eq!((proposal.loopback.is_some(), proposal.addresses.len()), (loopback, elsewhere), "{preset}");
        assert_eq!(policy.network.mode == NetworkMode::Open, preset == "networked");
    }
}

fn a_path() -> impl Strategy<Value = String> {
    let folders = prop::sample::select(vec![
        "/srv/data",
        "/srv/data/deep/er",
        "/var/lib/thing",
        "/var/tmp/x",
        "/etc",
        "/etc/ssl/private",
        "/opt/y",
        "/home/me",
        "/home/me/.config",
        "/home/me/.config/gh",
        "/home/me/.config/tool",
        "/home/me/.ssh",
        "/home/me/.aws",
        "/home/me/.cargo",
        "/home/me/.cargo/bin",
        "/home/me/state",
        "/home/me/project",
        "/home/me/project/src",
        "/home/me/project/.git/hooks",
        "/home/me/project/.git",
        "/home/me/docs",
        "/home/other",
        "/tmp",
        "/",
    ]);
    let names = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "d",
        "e",
        ".env",
        "id_rsa",
        "credentials.toml",
        "config",
        ".vscode",
        "we ird",
        "@x",
        "~",
        "g*",
    ]);
    (folders, names).prop_map(|(folder, name)| format!("{}/{name}", folder.trim_end_matches('/')))
}

fn an_observation() -> impl Strategy<Value = Observation> {
    let touch = prop::sample::select(vec![Touch::Read, Touch::Run, Touch::Write]);
    let outcome = prop::sample::select(vec![Outcome::Done, Outcome::Refused]);
    (touch, a_path(), outcome).prop_map(|(touch, path, outcome)| at(touch, &path, outcome))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The text loads (checked by `proposed`), and nothing that the base denies or protects, and no credential, is given.
    #[test]
    fn no_proposal_gives_what_is_held(
        preset in prop::sample::select(vec!["workspace-write", "read-only", "locked"]),
        seen in prop::collection::vec(an_observation(), 0..40),
        others in prop::collection::vec(a_path(), 0..20),
    ) {
        let (_, text, learned) = proposed(preset, &seen);
        let base = policy::preset(preset).unwrap();
        let floor = floor(&base, &anchors(), Path::new(STATE));
        let (before, after) = (Judge::new(&base, &anchors()), Judge::new(&learned, &anchors()));
        let paths = seen.iter().filter_map(|one| match &one.reach {
            Reach::Path { path, .. } => Some(path.clone()),
            _ => None,
        });
        for path in paths.chain(others.iter().map(PathBuf::from)) {
            for access in [Access::Read, Access::Write] {
                let (was, is) = (before.judge(&path, access), after.judge(&path, access));
                let held = floor.iter().any(|floor| path.starts_with(&floor.path));
                let closed = matches!(was.because.kind, Reason::Denied | Reason::Protected | Reason::GitReadOnly);
                prop_assert!(!closed || !is.allowed, "{path:?} {access:?} was {:?}\n{text}", was.because);
                prop_assert!(!held || was.allowed || !is.allowed, "{path:?} {access:?} is on the floor\n{text}");
                let used = seen.iter().any(|one| matches!(&one.reach, Reach::Path { touch: Touch::Write, path: written, .. } if *written == path));
                prop_assert!(!was.allowed || is.allowed || (access == Access::Write && !used), "{path:?} {access:?} was allowed\n{text}");
            }
        }
    }

    /// What was done or refused and is not withheld can be done under the proposal.
    #[test]
    fn a_proposal_covers_all_that_it_does_not_withhold(
        preset in prop::sample::select(vec!["workspace-write", "read-only", "locked"]),
        seen in prop::collection::vec(an_observation(), 0..40),
    ) {
        let (proposal, text, learned) = proposed(preset, &seen);
        let after = Judge::new(&learned, &anchors());
        let base = policy::preset(preset).unwrap();
        let (anchors, made) = (anchors(), BTreeSet::new());
        let base = Base { policy: &base, extends: preset, anchors: &anchors, floor: &[], private: Path::new(PRIVATE), made: &made };
        for one in &seen {
            let Reach::Path { touch, path, outcome, .. } = &one.reach else { continue };
            let write = *touch == Touch::Write;
            let shown = judged::entry_text(&base, path).unwrap_or_else(|| path.display().to_string());
            let withheld = proposal.withheld.iter().any(|one| one.write == write && one.what == shown);
            if withheld || (!write && *outcome == Outcome::Refused) {
                continue;
            }
            let verdict = after.judge(path, if write { Access::Write } else { Access::Read });
            prop_assert!(verdict.allowed, "{path:?} {:?}\n{text}", verdict.because);
        }
    }

    /// A folder in which nothing was seen is as closed as before.
    #[test]
    fn no_proposal_gives_what_was_not_reached_for(seen in prop::collection::vec(an_observation(), 0..40)) {
        let (_, text, learned) = proposed("workspace-write", &seen);
        let after = Judge::new(&learned, &anchors());
        for path in ["/srv/unseen/file", "/var/lib/unseen/file", "/home/other/unseen/file", "/var/unseen"] {
            for access in [Access::Read, Access::Write] {
                prop_assert!(!after.judge(Path::new(path), access).allowed, "{path}\n{text}");
            }
        }
        let wide = ["/", "/srv", "/etc", "/var", "/home", "~/.config", "~", "/home/me"];
        let lists = learned.filesystem.read.iter().chain(&learned.filesystem.write).flatten();
        for rule in lists.filter(|rule| rule.origin.group.is_none()) {
            prop_assert!(!wide.contains(&rule.place.to_string().as_str()), "{}\n{text}", rule.place);
        }
    }
}
