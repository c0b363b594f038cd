//! A host as a world of the list describes it, and where its places are.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use portcullis::{
    policy::{self, Policy, Search},
    sandbox::{Plan, Session},
};

use crate::{support::Host, table::World};

pub struct Scene {
    pub host: Host,
    /// A preset's name or the path of a file, as it is handed to the program.
    pub chosen: String,
    pub policy: Policy,
    pub session: Session,
    pub plan: Plan,
}

/// Where a place of the list lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// On the host.
    Host(PathBuf),
    /// In the session's temporary folder.
    Temporary(PathBuf),
    /// In the session's home folder.
    Private(PathBuf),
}

impl Scene {
    /// Makes it anew. It lies outside of `/tmp`, for which a sandbox has one of its own.
    pub fn new(world: &World) -> Self {
        let host = Host::in_folder(Path::new("/var/tmp"), world.repository);
        let chosen = match &world.policy {
            Some(preset) => preset.clone(),
            None => host.policy("p", &world.rules.replace("{root}", &host.root.display().to_string())),
        };
        let policy = policy::load(&Search { chosen: Some(chosen.clone()), ..Search::default() }).unwrap();
        let session = Session {
            linked: None,
            workspace: host.workspace.clone(),
            home: host.home.clone(),
            private: host.root.join("tmp/portcullis-x"),
            state: host.state.clone(),
            environment: BTreeMap::new(),
        };
        let plan = Plan::new(&policy, &session).unwrap();
        let scene = Self { host, chosen, policy, session, plan };
        for (place, content) in &world.files {
            let path = scene.path(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            if content.starts_with("#!") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        for (place, target) in &world.links {
            let target = if target.starts_with('@') { scene.path(target) } else { target.into() };
            symlink(target, scene.path(place)).unwrap();
        }
        scene
    }

    pub fn spot(&self, place: &str) -> Spot {
        let (first, rest) = place.split_once('/').unwrap_or((place, ""));
        match first {
            "" => Spot::Host(place.into()),
            "@outside" => Spot::Host(self.host.root.join("outside").join(rest)),
            "@home" => Spot::Host(self.host.home.join(rest)),
            "@state" => Spot::Host(self.host.state.join(rest)),
            "@workspace" => Spot::Host(self.host.workspace.join(rest)),
            "@tmp" => Spot::Temporary(rest.into()),
            "@private" => Spot::Private(rest.into()),
            _ => Spot::Host(self.host.workspace.join(place)),
        }
    }

    /// The path by which a call on Linux, and a policy, knows it.
    pub fn path(&self, place: &str) -> PathBuf {
        match self.spot(place) {
            Spot::Host(path) => path,
            Spot::Temporary(rest) => Path::new("/tmp").join(rest),
            Spot::Private(rest) => self.host.home.join(rest),
        }
    }
}
