//! From many paths to few entries: the files of one folder become the folder, where that does not take in too much.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// From how many entries of one folder on the folder stands for them.
const ENOUGH: usize = 4;

/// The smallest set of entries that covers all `paths`: what lies below another one is taken up by it, and a folder of which four or more entries
/// are wanted stands for them all, unless it is `wide`. The values of what is taken up are joined.
pub(super) fn gather<T>(paths: BTreeMap<PathBuf, T>, wide: impl Fn(&Path) -> bool, join: impl Fn(&mut T, T)) -> BTreeMap<PathBuf, T> {
    let mut kept = take_up(paths, &join);
    loop {
        let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
        for parent in kept.keys().filter_map(|path| path.parent()) {
            *counts.entry(parent).or_default() += 1;
        }
        let full = counts.into_iter().filter(|(folder, count)| *count >= ENOUGH && !wide(folder));
        // The deepest first, so that no folder further up is taken where one of its own would do.
        let Some(folder) = full.map(|(folder, _)| folder).max_by_key(|folder| folder.components().count()).map(Path::to_path_buf) else {
            return kept;
        };
        let (inside, outside): (BTreeMap<_, _>, BTreeMap<_, _>) = kept.into_iter().partition(|(path, _)| path.starts_with(&folder));
        kept = outside;
        if let Some(joined) = inside.into_values().reduce(|mut one, other| {
            join(&mut one, other);
            one
        }) {
            kept.insert(folder, joined);
        }
    }
}

/// Leaves out what lies below another path. Sorted by components, a folder comes right before what is in it.
fn take_up<T>(paths: BTreeMap<PathBuf, T>, join: &impl Fn(&mut T, T)) -> BTreeMap<PathBuf, T> {
    let mut kept: Vec<(PathBuf, T)> = Vec::new();
    for (path, value) in paths {
        match kept.last_mut() {
            Some((above, joined)) if path.starts_with(&*above) => join(joined, value),
            _ => kept.push((path, value)),
        }
    }
    kept.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(paths: &[&str]) -> Vec<String> {
        let paths = paths.iter().map(|path| (PathBuf::from(path), 1)).collect();
        let wide = |path: &Path| path == Path::new("/srv") || path == Path::new("/");
        gather(paths, wide, |one, other| *one += other).into_iter().map(|(path, count)| format!("{} {count}", path.display())).collect()
    }

    #[test]
    fn four_files_of_a_folder_become_the_folder_and_three_do_not() {
        assert_eq!(gathered(&["/srv/d/a", "/srv/d/b", "/srv/d/c", "/srv/d/d"]), ["/srv/d 4"]);
        assert_eq!(gathered(&["/srv/d/a", "/srv/d/b", "/srv/d/c"]), ["/srv/d/a 1", "/srv/d/b 1", "/srv/d/c 1"]);
    }

    #[test]
    fn a_wide_folder_stands_for_nothing() {
        assert_eq!(gathered(&["/srv/a", "/srv/b", "/srv/c", "/srv/d"]), ["/srv/a 1", "/srv/b 1", "/srv/c 1", "/srv/d 1"]);
    }

    #[test]
    fn what_lies_in_a_wanted_folder_is_taken_up() {
        assert_eq!(gathered(&["/srv/d", "/srv/d/a/b", "/srv/d.old"]), ["/srv/d 2", "/srv/d.old 1"]);
    }

    #[test]
    fn folders_of_folders_are_gathered_too() {
        let paths: Vec<String> = (0..4).flat_map(|folder| (0..4).map(move |file| format!("/srv/x/{folder}/{file}"))).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert_eq!(gathered(&paths), ["/srv/x 16"]);
    }
}
