//! Links that exist when a session starts: the kernel judges where they lead.

use std::path::{Path, PathBuf};

use super::places::{join, real};
use crate::sandbox::plan::{Plan, Root};

/// The plan with what its links lead to: what is denied or protected stays so under its real name, and a granted place outside of the workspace is
/// granted where it is. `leads_to` is canonical, and follows a path as far as it exists.
///
/// A link in the workspace leads a grant nowhere, and neither does one on the way to what a person granted: calls could have put it there.
#[must_use]
pub fn settled(plan: &Plan, leads_to: &dyn Fn(&Path) -> Option<PathBuf>) -> Plan {
    let mut settled = plan.clone();
    let elsewhere = |path: &Path| leads_to(path).filter(|found| *found != real(path) && found != path);
    // A protected link that leads upwards names nothing in particular.
    settled.protect.extend(plan.protect.iter().filter_map(|path| elsewhere(path)).filter(|found| !plan.workspace.starts_with(found)));
    settled.deny.extend(plan.deny.iter().filter_map(|path| elsewhere(path)));
    for list in [&mut settled.deny, &mut settled.protect] {
        list.sort();
        list.dedup();
    }
    let mut more = Vec::new();
    for root in plan.roots.iter().filter(|root| root.source == root.target) {
        let by_hand = root.target.starts_with(&plan.workspace) || plan.granted.contains(&root.target);
        if let Some(found) = elsewhere(&root.source).filter(|_| !by_hand) {
            more.push(Root { target: found.clone(), source: found, ..root.clone() });
        }
    }
    settled.roots.extend(more);
    settled.roots.sort();
    settled
}

/// `path` with its links followed as far as it exists; what is absent keeps its name.
pub fn leads_to(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|above| {
        let real = std::fs::canonicalize(above).ok()?;
        Some(join(&real, path.strip_prefix(above).ok()?))
    })
}
