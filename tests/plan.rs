//! The plan: from a policy and a session to what the kernel is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of the functions that clippy takes for tests")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use portcullis::{
    policy::{self, Policy},
    sandbox::{Access, Plan, PlanError, Root, Session, plan::INSIDE_TMP},
};

fn session() -> Session {
    let variables = [
        ("PATH", "/work/bin:/home/me/.cargo/bin:/usr/bin:relative:/home/me/.local/bin:/tmp:/usr/bin:/not/granted"),
        ("HOME", "/home/me"),
        ("LANG", "C.UTF-8"),
        ("OPENAI_API_KEY", "secret"),
        ("LD_PRELOAD", "/work/evil.so"),
        ("BASH_ENV", "/work/evil.sh"),
    ];
    Session {
        linked: None,
        workspace: "/work".into(),
        home: "/home/me".into(),
        private: "/private".into(),
        state: "/home/me/.local/state/portcullis".into(),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
    }
}

fn root<'a>(plan: &'a Plan, target: &str) -> Option<&'a Root> {
    plan.roots.iter().find(|root| root.target == Path::new(target))
}

/// A policy of several layers, from the texts of their files.
fn layered(chosen: &str, project: &str) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let search = policy::Search {
        chosen: Some(write("chosen.toml", chosen).display().to_string()),
        system: None,
        user: None,
        project: Some(write("project.toml", project)),
    };
    policy::load(&search).unwrap()
}

#[test]
fn the_everyday_plan_shows_the_workspace_private_folders_and_what_programs_need() {
    let plan = Plan::new(&policy::preset("workspace-write").unwrap(), &session()).unwrap();
    assert_eq!(root(&plan, "/work").unwrap().access, Access::Write);
    let home = root(&plan, "/home/me").unwrap();
    assert_eq!((home.source.as_path(), home.access), (Path::new("/private/home"), Access::Write));
    let temporary = root(&plan, INSIDE_TMP).unwrap();
    assert_eq!((temporary.source.as_path(), temporary.access), (Path::new("/private/tmp"), Access::Write));
    assert_eq!(root(&plan, "/usr").unwrap().access, Access::Read);
    assert_eq!(root(&plan, "/home/me/.cargo/bin").unwrap().source, Path::new("/home/me/.cargo/bin"));
    assert!(plan.deny.contains(&PathBuf::from("/home/me/.ssh")));
    assert!(plan.deny.contains(&PathBuf::from("/home/me/.local/state/portcullis")));
    assert!(plan.protect.contains(&PathBuf::from("/work/.git/hooks")));
    assert!(plan.roots.windows(2).all(|pair| pair[0].target <= pair[1].target), "a root comes before those inside it");
}

#[test]
fn a_further_layer_only_narrows() {
    let chosen =
        "schema = 1\nname = \"c\"\n[filesystem]\nread = [\"/usr\", \"@workspace\"]\nwrite = [\"@workspace\", \"@tmp\", \"@home\"]\n";
    let project = "schema = 1\nname = \"p\"\n[filesystem]\nread = [\"/\"]\nwrite = [\"docs\", \"~/elsewhere\", \"/etc\", \"@tmp\"]\n";
    let plan = Plan::new(&layered(chosen, project), &session()).unwrap();
    let writable: Vec<&Path> = plan.roots.iter().filter(|root| root.access == Access::Write).map(|root| root.target.as_path()).collect();
    assert_eq!(writable, [Path::new("/tmp"), Path::new("/work/docs")]);
    assert_eq!(root(&plan, "/work").unwrap().access, Access::Read);
    // The private home is named by one layer, so the real one stays hidden, and what the other says of it covers nothing.
    let home = root(&plan, "/home/me").unwrap();
    assert_eq!((home.source.as_path(), home.access), (Path::new("/private/home"), Access::Read));
    assert!(root(&plan, "/home/me/elsewhere").is_none() && root(&plan, "/").is_none() && root(&plan, "/etc").is_none());
}

#[test]
fn the_environment_is_the_policys_and_its_path_holds_no_writable_folder() {
    let policy = policy::preset("workspace-write").unwrap();
    let session = session();
    let environment: BTreeMap<String, String> = Plan::new(&policy, &session).unwrap().environment(&policy, &session).into_iter().collect();
    assert_eq!(environment["PATH"], "/home/me/.cargo/bin:/usr/bin:/home/me/.local/bin");
    assert_eq!(environment["HOME"], "/home/me");
    assert_eq!(environment["TMPDIR"], INSIDE_TMP);
    assert_eq!(environment["LANG"], "C.UTF-8");
    for name in ["OPENAI_API_KEY", "LD_PRELOAD", "BASH_ENV"] {
        assert!(!environment.contains_key(name), "{name}");
    }
}

#[test]
fn what_only_reads_gets_a_plan_that_writes_nothing() {
    let plan = Plan::new(&policy::preset("workspace-write").unwrap(), &session()).unwrap();
    let read_only = plan.read_only();
    assert!(read_only.roots.iter().all(|root| root.access == Access::Read));
    assert_eq!((read_only.deny, read_only.limits), (plan.deny, plan.limits));
}

#[test]
fn a_plan_is_a_function_of_policy_and_session_alone() {
    // Invariant I2: nothing that a call says is an argument of this function, and the same facts give the same plan.
    for (name, _) in policy::presets() {
        let policy = policy::preset(name).unwrap();
        match (Plan::new(&policy, &session()), Plan::new(&policy, &session())) {
            (Ok(one), Ok(other)) => assert_eq!(one, other),
            (one, other) => assert_eq!(one.unwrap_err(), other.unwrap_err()),
        }
    }
}

#[test]
fn an_allow_list_takes_its_hosts_along_and_tells_programs_of_the_proxy() {
    let text = "schema = 1\nname = \"c\"\nextends = \"networked\"\n[network]\nmode = \"allowlist\"\nallow = [\"Example.ORG\", \"*.b.org:8443\"]\ndeny = [\"x.b.org\"]\n";
    let policy = layered(text, "schema = 1\nname = \"p\"\n");
    let plan = Plan::new(&policy, &session()).unwrap();
    let hosts = plan.hosts.as_ref().unwrap();
    let rules: Vec<&str> = hosts.allow.iter().flatten().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!((rules, hosts.deny.len()), (vec!["example.org", "*.b.org:8443"], 1));
    let environment = plan.environment(&policy, &session());
    let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "npm_config_proxy"] {
        assert_eq!(value(name), Some("http://127.0.0.1:3128"), "{name}");
    }
    assert_eq!(value("ALL_PROXY"), Some("socks5h://127.0.0.1:3128"));
    let other = layered("schema = 1\nname = \"c\"\nextends = \"networked\"\n", "schema = 1\nname = \"p\"\n");
    let plan = Plan::new(&other, &session()).unwrap();
    assert!(plan.hosts.is_none() && !plan.environment(&other, &session()).iter().any(|(name, _)| name.to_lowercase().contains("proxy")));
}

#[test]
fn no_plan_is_made_for_a_workspace_that_is_more_than_a_project() {
    for workspace in ["/", "/home", "/etc", "/usr", "/tmp", "/var"] {
        let session = Session { workspace: workspace.into(), ..session() };
        let error = Plan::new(&policy::preset("workspace-write").unwrap(), &session).unwrap_err();
        assert!(matches!(error, PlanError::Workspace { .. }), "{workspace}: {error}");
    }
}

#[test]
fn no_plan_is_made_that_lets_a_call_write_the_state_or_the_private_folders() {
    let policy = policy::preset("workspace-write").unwrap();
    let inside = Session { state: "/work/.state".into(), ..session() };
    assert!(matches!(Plan::new(&policy, &inside).unwrap_err(), PlanError::StateInside { .. }));
    let inside = Session { private: "/work/tmp/x".into(), ..session() };
    assert!(matches!(Plan::new(&policy, &inside).unwrap_err(), PlanError::PrivateInside { .. }));
}

#[test]
fn a_workspace_that_is_the_home_folder_is_not_hidden_by_the_private_one() {
    let session = Session { workspace: "/home/me".into(), state: "/var/state".into(), ..session() };
    let plan = Plan::new(&policy::preset("workspace-write").unwrap(), &session).unwrap();
    let home = root(&plan, "/home/me").unwrap();
    assert_eq!((home.source.as_path(), home.access), (Path::new("/home/me"), Access::Write));
    assert!(plan.deny.contains(&PathBuf::from("/home/me/.ssh")));
}
