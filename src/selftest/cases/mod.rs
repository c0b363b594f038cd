//! All cases, by area.

pub mod kernel;
pub mod network;
pub mod outside;
pub mod processes;
pub mod protected;
pub mod secrets;
pub mod shell;
pub mod start;
pub mod terminal;

use super::{case::Case, scene::Scene};
use crate::policy::Access;

/// All cases, grouped by area.
pub fn all() -> Vec<Case> {
    let mut all: Vec<Case> = [
        outside::cases().as_slice(),
        shell::cases().as_slice(),
        protected::cases().as_slice(),
        secrets::cases().as_slice(),
        network::cases().as_slice(),
        processes::cases().as_slice(),
        terminal::cases().as_slice(),
        kernel::cases().as_slice(),
        start::cases().as_slice(),
    ]
    .concat();
    all.sort_by_key(|case| case.area);
    all
}

/// Where the policy lets a call write beside the workspace, a file that was written there proves nothing.
fn outside_is_granted(scene: &Scene<'_>) -> Option<String> {
    let canary = scene.world.at("outside/file");
    scene.allows(&canary, Access::Write).then(|| format!("the policy lets a call write {}", canary.display()))
}

/// What needs a place of the workspace that a call may write.
fn workspace_is_read_only(scene: &Scene<'_>) -> Option<String> {
    (!scene.workspace_is_writable()).then(|| "the policy lets no call write in the workspace".to_owned())
}

/// Both.
fn outside_or_read_only(scene: &Scene<'_>) -> Option<String> {
    outside_is_granted(scene).or_else(|| workspace_is_read_only(scene))
}
