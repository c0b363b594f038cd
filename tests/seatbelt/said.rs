//! What the model is told on a Mac, held against the profile: each sentence that differs from Linux' is tried.

use std::path::Path;

use portcullis::policy::{Ask, ClaimKind, Platform, Policy, claims_on, preset, presets, render_on};

use crate::{
    evaluator::About,
    world::{Asked, PRIVATE, WORKSPACE, plan, policy},
};

fn said(policy: &Policy, kind: ClaimKind) -> String {
    claims_on(policy, Platform::MacOs).into_iter().find(|claim| claim.kind == kind).map_or_else(String::new, |claim| claim.text)
}

#[test]
fn each_sentence_of_its_own_is_true_of_the_profile() {
    let everyday = preset("workspace-write").unwrap();
    let asked = Asked::plan(&plan("workspace-write", ""));
    let at = |name: &str| format!("{WORKSPACE}/{name}");

    let text = said(&everyday, ClaimKind::Writes);
    assert!(
        text.contains("Of package caches nothing is")
            && !asked.makes("/Users/me/.cargo/registry/x")
            && asked.reads("/Users/me/.cargo/registry/x")
    );
    assert!(text.contains("Hard links cannot be made") && !asked.asks("file-link", About::File(Path::new(&at("x")))));

    let text = said(&everyday, ClaimKind::Deny);
    assert!(text.contains("nor to be made") && !asked.makes(&at("new/.env")));
    assert!(text.contains("in any case of their letters") && !asked.reads(&at("new/.Env")));
    assert!(text.contains("inside the private folders") && !asked.reads(&format!("{PRIVATE}/tmp/.env")));
    assert!(!text.contains("node_modules") && !asked.reads(&at("node_modules/x/.env")));

    let text = said(&everyday, ClaimKind::Protect);
    assert!(
        text.contains("cannot be created, in any case")
            && !asked.makes(&at("sub/.VSCODE"))
            && !asked.makes(&format!("{PRIVATE}/home/.vscode"))
    );
    assert!(text.contains("can be neither made nor moved") && !asked.makes(&at("sub/.hg")) && !asked.removes(&at("sub/.hg")));

    let text = said(&everyday, ClaimKind::PrivateTemporary);
    assert!(text.contains("/tmp itself is out of reach") && !asked.reads("/private/tmp/x") && asked.makes(&format!("{PRIVATE}/tmp/x")));
    let text = said(&everyday, ClaimKind::PrivateHome);
    assert!(
        text.contains("out of reach but for those places") && !asked.reads("/Users/me/notes") && asked.makes(&format!("{PRIVATE}/home/x"))
    );

    let text = said(&everyday, ClaimKind::GitCommit);
    assert!(
        text.contains("in repositories inside the workspace too")
            && asked.makes(&at("sub/.git/objects/x"))
            && !asked.writes(&at("sub/.git/config"))
    );
    assert!(
        text.contains("No repository, submodule or worktree can be made")
            && !asked.makes(&at("new/.git"))
            && !asked.makes(&at(".git/worktrees/x"))
    );
    assert!(text.contains("nothing be committed in a submodule") && !asked.makes(&at(".git/modules/x/objects/y")));
    assert!(text.contains("no rebase be done") && !asked.makes(&at(".git/rebase-merge")));
    let full = policy("workspace-write", "[git]\nallow = \"full\"");
    assert_eq!(said(&full, ClaimKind::GitFull), text, "full is no more than commit");

    let text = said(&everyday, ClaimKind::NetworkLoopback);
    assert!(
        text.contains("what listens on this machine can be reached")
            && asked.asks("network-outbound", About::Address { loopback: true, port: 5432 })
    );
    assert!(text.contains("unix sockets can be used in the private folders alone"));
    assert!(said(&everyday, ClaimKind::LifetimeEndsWithCall).contains("unless they have made a session of their own (setsid)"));
}

#[test]
fn nothing_is_promised_that_only_linux_keeps() {
    for (name, _) in presets() {
        let policy = preset(name).unwrap();
        let text = render_on(&policy, Ask::WhenNeeded, Platform::MacOs);
        for word in [
            "/dev/shm",
            "loopback of each call's own",
            ".refused",
            "private copies",
            "disk space is ended",
            "of memory",
            "node_modules",
            "placeholder",
        ] {
            assert!(!text.contains(word), "{name}: {word}: {text}");
        }
        assert!(render_on(&policy, Ask::WhenNeeded, Platform::Linux).contains("of memory"), "{name}");
        for claim in claims_on(&policy, Platform::MacOs) {
            assert!(claim.text.ends_with('.') && !claim.text.contains('\n'), "{claim:?}");
        }
    }
}
