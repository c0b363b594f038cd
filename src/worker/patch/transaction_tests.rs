use super::*;

fn metadata(path: &Path) -> Metadata {
    fs::symlink_metadata(path).unwrap()
}

fn replace(path: &Path, bytes: &[u8]) -> Step {
    Step::Replace { shown: path.display().to_string(), target: path.into(), bytes: bytes.into(), original: metadata(path) }
}

fn create(path: &Path) -> Step {
    Step::Create { shown: path.display().to_string(), target: path.into(), bytes: b"new".to_vec(), like: None }
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_appears_between_the_plan_and_the_rename_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, "old").unwrap();
    let inode = metadata(&a).ino();
    let steps = [replace(&a, b"changed"), create(&b)];
    let mut transaction = Transaction::default();
    transaction.stage(&steps).unwrap();
    fs::write(&b, "theirs").unwrap();
    let failure = transaction.commit(&steps).unwrap_err();
    let failure = transaction.roll_back(failure);
    assert!(matches!(&failure, WorkerError::System { source, .. } if source.raw_os_error() == Some(Errno::EEXIST as i32)), "{failure}");
    assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"old".to_vec(), b"theirs".to_vec()));
    assert_eq!(metadata(&a).ino(), inode, "the very file is back, not a copy");
    assert_eq!(names_in(dir.path()), ["a", "b"]);
}

#[test]
fn a_file_that_was_changed_by_somebody_else_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, "old").unwrap();
    fs::write(&b, "old").unwrap();
    for last in [replace(&b, b"new"), Step::Remove { shown: "b".into(), target: b.clone(), original: metadata(&b) }] {
        fs::write(&b, format!("theirs {last:?}")).unwrap();
        let failure = run(&[replace(&a, b"new"), create(&dir.path().join("x/y/z")), last]).unwrap_err();
        assert!(matches!(failure, WorkerError::Conflict { .. }), "{failure}");
        assert_eq!(fs::read(&a).unwrap(), b"old");
        assert_eq!(names_in(dir.path()), ["a", "b"]);
    }
}

#[test]
fn a_rollback_that_fails_says_where_the_original_is() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::write(&a, "precious").unwrap();
    let steps = [replace(&a, b"new"), create(&dir.path().join("b"))];
    let mut transaction = Transaction::default();
    transaction.stage(&steps).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    let failure = transaction.commit(&steps).unwrap_err();
    // In the way of the original: a directory that is not empty.
    fs::remove_file(&a).unwrap();
    fs::create_dir(&a).unwrap();
    let failure = transaction.roll_back(failure);
    assert!(matches!(&failure, WorkerError::Rollback { remains, .. } if remains.contains(".portcullis-")), "{failure}");
    let kept = names_in(dir.path()).into_iter().find(|name| name.starts_with(".portcullis-")).unwrap();
    assert_eq!(fs::read(dir.path().join(kept)).unwrap(), b"precious");
}

#[test]
fn an_original_that_was_renamed_away_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::write(&a, "old").unwrap();
    let backup = move_away(&a).unwrap();
    assert!(!a.exists());
    let transaction = Transaction { undo: vec![Undo::Restore { backup, target: a.clone() }], ..Transaction::default() };
    let failure = transaction.roll_back(WorkerError::Conflict { path: "a".into(), problem: "test".into() });
    assert!(matches!(failure, WorkerError::Conflict { .. }));
    assert_eq!(fs::read(&a).unwrap(), b"old");
    assert_eq!(names_in(dir.path()), ["a"]);
}
