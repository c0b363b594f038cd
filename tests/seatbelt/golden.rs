//! Profiles, word for word: a change of one is a change that somebody has looked at.

use std::{fs, path::Path};

use portcullis::{
    policy::preset,
    sandbox::{
        Plan,
        macos::profile::{Facts, Profile},
    },
};

use crate::world::{linked, plan, profile, session};

/// The profile with the values of its parameters behind it.
fn shown(profile: &Profile) -> String {
    let values: Vec<String> = profile.parameters.iter().map(|(name, value)| format!("; {name} = {value}\n")).collect();
    format!("{}\n; Parameters\n{}", profile.text, values.concat())
}

/// On a difference, what would be the file is left where cargo keeps such things.
fn is(name: &str, expected: &str, profile: &Profile) {
    let found = shown(profile);
    if found != expected {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::write(&kept, &found);
        panic!("tests/seatbelt/golden/{name} is not what is rendered, which lies in {}", kept.display());
    }
}

#[test]
fn the_profiles_are_those_that_were_looked_at() {
    let none = Facts::default();
    let of = |name: &str| Plan::new(&preset(name).unwrap(), &session()).unwrap();
    is("workspace-write.sb", include_str!("golden/workspace-write.sb"), &profile(&of("workspace-write"), &none));
    is("read-only.sb", include_str!("golden/read-only.sb"), &profile(&of("read-only"), &none));
    let worker = Facts { worker: Some(Path::new("/opt/homebrew/bin/portcullis")), ..none };
    is("file-tool.sb", include_str!("golden/file-tool.sb"), &profile(&of("workspace-write").read_only(), &worker));
    let rules = "[filesystem]\ndeny = [\"@credentials\", \"@secret-files\", \"keys\"]\n[network]\nmode = \"allowlist\"\nallow = [\"example.org\"]\n\
                 sockets = [\"/var/run/docker.sock\"]";
    let facts = Facts { terminal: Some(Path::new("/dev/ttys004")), proxy: Some(49_152), worker: None };
    is("allowlist.sb", include_str!("golden/allowlist.sb"), &profile(&plan("workspace-write", rules), &facts));
    let proxy = portcullis::sandbox::macos::proxy::profile(Path::new("/opt/homebrew/bin/portcullis")).unwrap();
    is("proxy.sb", include_str!("golden/proxy.sb"), &proxy);
    let worktree = Plan::new(&preset("workspace-write").unwrap(), &linked()).unwrap();
    is("worktree.sb", include_str!("golden/worktree.sb"), &profile(&worktree, &none));
}
