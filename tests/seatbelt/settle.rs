//! Links that exist when a session starts.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use portcullis::sandbox::macos::settle::{leads_to, settled};

use crate::world::{Asked, WORKSPACE, plan};

#[test]
fn what_a_link_leads_to_is_kept_as_the_link_is() {
    let rules = "[filesystem]\nread = [\"@system\", \"@workspace\", \"/Users/me/shared\", \"/Users/me/way\", \"mine\"]\n\
                 protect = [\"@agent-config\", \"ci.yml\", \"up\"]\ndeny = [\"@credentials\", \"key\"]";
    let plan = plan("workspace-write", rules);
    let at = |name: &str| Path::new(WORKSPACE).join(name);
    let links = BTreeMap::from([
        (at(".claude"), at("config/agent")),
        (at("ci.yml"), PathBuf::from("/Users/me/shared/ci.yml")),
        (at("up"), PathBuf::from("/Users/me")),
        (at("key"), PathBuf::from("/Users/me/shared/key")),
        (PathBuf::from("/Users/me/way"), PathBuf::from("/Volumes/big")),
        (at("mine"), PathBuf::from("/Users/you")),
    ]);
    let mut granted = plan.clone();
    granted.granted.push("/Users/me/way".into());
    let follow = |path: &Path| Some(links.get(path).cloned().unwrap_or_else(|| path.to_path_buf()));
    let asked = Asked::plan(&settled(&plan, &follow));
    assert!(!asked.makes(&format!("{WORKSPACE}/config/agent/settings.json")) && !asked.makes(&format!("{WORKSPACE}/.claude")));
    assert!(asked.makes(&format!("{WORKSPACE}/config/other")), "a link upwards closes nothing");
    assert!(asked.reads("/Users/me/shared/ci.yml") && !asked.reads("/Users/me/shared/key"));
    assert!(asked.reads("/Volumes/big/x") && !asked.makes("/Volumes/big/x"));
    assert!(!asked.reads("/Users/you/x"), "a link in the workspace leads a grant nowhere");
    let asked = Asked::plan(&settled(&granted, &follow));
    assert!(!asked.reads("/Volumes/big/x"), "nor does one on the way to what was granted");
}

#[test]
fn a_path_is_followed_as_far_as_it_exists() {
    let folder = tempfile::tempdir().unwrap();
    let folder = std::fs::canonicalize(folder.path()).unwrap();
    std::fs::create_dir(folder.join("real")).unwrap();
    std::os::unix::fs::symlink("real", folder.join("link")).unwrap();
    assert_eq!(leads_to(&folder.join("link/a/b")), Some(folder.join("real/a/b")));
    assert_eq!(leads_to(&folder.join("link")), Some(folder.join("real")));
}
