//! The same attempts where there is no layer at all.

use std::collections::BTreeMap;

use portcullis::{
    policy,
    selftest::{
        Options, Verdict, Wanted,
        case::{Case, Control},
        run,
        tries::Said,
    },
};

#[derive(Debug)]
struct Harmless {
    root: bool,
    only: Option<String>,
}

impl Wanted for Harmless {
    fn wants(&self, case: &Case) -> bool {
        let permitted = match case.control {
            Control::Leaks => true,
            Control::LeaksForRoot(_) => self.root,
            Control::LeaksForUsers(_) => !self.root,
            Control::Not(_) => false,
        };
        permitted && self.only.as_ref().is_none_or(|text| case.id.contains(text.as_str()))
    }
}

pub fn without_any_layer_every_attempt_gets_out() {
    let policy = policy::preset("workspace-write").unwrap();
    let environment: BTreeMap<String, String> =
        [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let wanted = Harmless { root: nix::unistd::geteuid().is_root(), only: std::env::var("SELFTEST_ONLY").ok() };
    let findings = run(&Options { policy: &policy, environment: &environment, wanted: &wanted, layers: Some(&[]) }, |_| {}).unwrap();
    assert!(!findings.is_empty());
    let mut stayed = Vec::new();
    for finding in &findings {
        if std::env::var_os("SELFTEST_TRIES").is_some() {
            for said in &finding.said {
                if let Said::Tried { what, got: Err(error) } = said {
                    println!("{}: {what}: {error}", finding.case.id);
                }
            }
        }
        if matches!(finding.verdict, Verdict::Leaked(_)) {
            continue;
        }
        if let Verdict::DoesNotApply(reason) = &finding.verdict {
            println!("no attempt of {}: {reason}", finding.case.id);
            continue;
        }
        let answers: Vec<&String> = finding
            .said
            .iter()
            .filter_map(|said| if let Said::Tried { got: Err(error), .. } = said { Some(error) } else { None })
            .collect();
        let refused_to_everybody =
            !answers.is_empty() && answers.iter().all(|error| error.contains("not permitted") || error.contains("not implemented"));
        if finding.case.proof == portcullis::selftest::case::Proof::Answer && refused_to_everybody {
            println!("SKIP the control of {}: this machine refuses it to everybody ({})", finding.case.id, answers[0]);
            continue;
        }
        println!("{}: {:?}\n  {:?}", finding.case.id, finding.verdict, finding.said);
        stayed.push(finding.case.id);
    }
    assert!(stayed.is_empty(), "these attempts do nothing even without a sandbox, so they prove nothing: {stayed:?}");
}
