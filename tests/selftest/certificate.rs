//! `policy verify`, tested: where the kernel is told other than the policy says, the certificate says which statement does not hold.

use std::{cell::RefCell, fs, path::PathBuf};

use portcullis::{
    certificate::{Options, Statement, Subject, Verdict, document, run},
    policy::{self, Layer, NetworkMode},
    sandbox::{Plan, Session},
};

fn verify(other: Option<&dyn Fn(&mut Plan)>) -> (Subject, Vec<Statement>) {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in ["home/work", "state/placeholders", "private"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let at = |name: &str| -> PathBuf { root.join(name) };
    let session =
        Session { workspace: at("home/work"), home: at("home"), private: at("private"), state: at("state"), linked: None, environment };
    let policy = policy::preset("workspace-write").unwrap();
    let found = run(&Options { policy: &policy, session: &session, other }).unwrap();
    assert!(fs::read_dir(at("home/work")).unwrap().next().is_none(), "the workspace was changed");
    found
}

fn failing(other: &dyn Fn(&mut Plan)) -> Vec<&'static str> {
    let (_, statements) = verify(Some(other));
    assert!(!document::holds(&statements));
    let mut claims: Vec<_> = statements.iter().filter(|one| one.verdict == Verdict::Fails).map(|one| one.claim).collect();
    claims.dedup();
    claims
}

pub fn a_statement_that_does_not_hold_is_found() {
    let (_, statements) = verify(None);
    let failed: Vec<_> = statements.iter().filter(|one| one.verdict == Verdict::Fails).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let denies = |plan: &mut Plan| {
        plan.deny.clear();
        plan.deny_globs.clear();
    };
    assert!(failing(&denies).contains(&"deny"));
    let protects = |plan: &mut Plan| {
        plan.protect.clear();
        plan.protect_globs.clear();
    };
    assert!(failing(&protects).contains(&"protect"));
    assert_eq!(failing(&|plan| plan.network = NetworkMode::Open), ["network"]);
    assert!(failing(&|plan| plan.layers.retain(|layer| *layer != Layer::Landlock)).contains(&"layers"));
    assert_eq!(failing(&|plan| plan.limits.open_files += 100), ["limits"]);
}

pub fn a_certificate_is_whole_or_is_none() {
    let (subject, statements) = verify(None);
    let signed = RefCell::new(Vec::new());
    let sign = |bytes: &[u8]| {
        signed.borrow_mut().extend_from_slice(bytes);
        Some("a signature".into())
    };
    let mut certificate = document::certificate(&subject, &statements, &sign);
    assert_eq!(certificate["signature"], "a signature");
    assert!(!signed.borrow().is_empty());
    let (fingerprint, kernel) = (subject.fingerprint.as_str(), subject.kernel.as_str());
    assert!(document::is_of(&certificate, fingerprint, kernel));
    assert!(!document::is_of(&certificate, fingerprint, "another kernel"));
    assert!(!document::is_of(&certificate, &"0".repeat(64), kernel));
    certificate["statements"][0]["verdict"] = "fails".into();
    assert!(!document::is_of(&certificate, fingerprint, kernel));
}
