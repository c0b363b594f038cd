//! `doctor` on macOS: pure, but for [`Machine::look`].

use serde::Serialize;

use super::presets::{self, Enforced, Finding, Lack, Preset, Verdict};
use crate::{
    cli::exit::Exit,
    policy::{self, NetworkMode, Policy},
    sandbox::{
        Plan, Session,
        macos::{
            arguments::SANDBOX_EXEC,
            profile::{Facts, render},
        },
    },
    ui::{
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// The shape of the JSON object; see the documentation of the module above.
const VERSION: u32 = 1;

/// What is known of a Mac.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// The version of macOS, as the system names it.
    pub(super) product: Option<String>,
    /// Whether `sandbox-exec` is where it belongs.
    pub(super) sandbox_exec: bool,
    /// Whether a program starts under the profile of the default preset.
    pub(super) starts: Result<(), String>,
    /// Whether that profile keeps it from reading what it does not grant.
    pub(super) keeps: Result<(), String>,
}

/// What it has of what is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct MacOs {
    applicable: bool,
    built: bool,
    product: Option<String>,
    sandbox_exec: bool,
    starts: Finding,
    keeps: Finding,
}

/// Everything that `doctor` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    version: u32,
    portcullis: &'static str,
    macos: MacOs,
    presets: Vec<Preset>,
    verdict: Verdict,
}

impl Report {
    /// Judges a machine.
    pub(super) fn new(machine: &Machine) -> Self {
        let presets: Vec<Preset> = policy::presets().iter().map(|(name, _)| preset(name, machine)).collect();
        Self {
            version: VERSION,
            portcullis: env!("CARGO_PKG_VERSION"),
            macos: MacOs {
                applicable: true,
                built: true,
                product: machine.product.clone(),
                sandbox_exec: machine.sandbox_exec,
                starts: (&machine.starts).into(),
                keeps: (&machine.keeps).into(),
            },
            verdict: Verdict::of(&presets),
            presets,
        }
    }

    /// The code to end with.
    pub(super) fn exit(&self) -> Exit {
        if self.verdict.enforced == Enforced::Full { Exit::Success } else { Exit::Sandbox }
    }

    /// The report in lines of `width` columns; its last line is the verdict.
    pub(super) fn text(&self, width: usize, paint: Paint) -> String {
        let mut table = Table::new(2);
        table.row(["portcullis".into(), self.portcullis.into()]);
        table.row(["macOS".into(), self.macos.product.as_deref().unwrap_or("of an unknown version").into()]);
        let mut layers = Table::new(2);
        let there = Finding { works: self.macos.sandbox_exec, reason: None };
        let found = [
            ("sandbox-exec", &there, SANDBOX_EXEC),
            ("a profile", &self.macos.starts, "a program starts under the default preset's"),
            ("what it keeps", &self.macos.keeps, "a program under it cannot list the folder of all users"),
        ];
        for (name, finding, detail) in found {
            let state = if finding.works { Cell::new(Tone::Good, "had") } else { Cell::new(Tone::Bad, "lacking") };
            layers.row([name.into(), state, finding.reason.as_deref().unwrap_or(detail).into()]);
        }
        layers.row(["limits".into(), "rlimits".into(), "time by a clock; processes, descriptors and file size by setrlimit(2)".into()]);
        let sections = [
            ("Machine", table),
            ("Layers", layers),
            ("Presets", presets::table(&self.presets)),
            ("What is lacking", presets::lacking(&self.presets)),
        ];
        let mut out = String::new();
        for (title, table) in sections {
            out.push_str(&format!("{}\n{}\n", paint.text(Tone::Strong, title), table.render(width, paint)));
        }
        out + &paint.text(presets::tone(self.verdict.enforced), &format!("Verdict: {}.", self.verdict.text)) + "\n"
    }
}

fn preset(name: &str, machine: &Machine) -> Preset {
    let needs = ["sandbox-exec", "a profile that this version of macOS takes"].map(str::to_owned).into();
    match policy::preset(name) {
        Ok(policy) => Preset::new(name, needs, lacks(&policy, machine)),
        Err(error) => {
            let lack = lack(
                "a policy without errors",
                error.to_string(),
                "everything that it says",
                true,
                "Report this: the preset is part of the program",
            );
            Preset::new(name, needs, vec![lack])
        }
    }
}

fn lack(what: &str, reason: String, lost: &str, stops: bool, remedy: &str) -> Lack {
    Lack { what: what.to_owned(), reason, lost: lost.to_owned(), stops, remedy: remedy.to_owned() }
}

/// What a policy needs, and this machine, or any Mac, lacks.
pub(super) fn lacks(policy: &Policy, machine: &Machine) -> Vec<Lack> {
    let everything = "all of it: nothing runs without";
    let report = "Report this with the output of `portcullis doctor --json`";
    let mut out = Vec::new();
    if !machine.sandbox_exec {
        let reason = format!("there is no {SANDBOX_EXEC}");
        out.push(lack(
            "sandbox-exec",
            reason,
            everything,
            true,
            "Use a version of macOS that has it: Apple has deprecated it, and may take it away",
        ));
    } else if let Err(reason) = &machine.starts {
        out.push(lack("a profile that this version of macOS takes", reason.clone(), everything, true, report));
    } else if let Err(reason) = &machine.keeps {
        out.push(lack("a profile that is enforced", reason.clone(), everything, true, report));
    }
    if let Err(reason) = profile(policy) {
        out.push(lack("a profile", reason, everything, true, "Change what it names in the policy"));
    }
    let linux = "Where that matters, run portcullis on Linux, such as in a virtual machine on this Mac";
    let mut never = |what: &str, reason: &str, lost: &str| out.push(lack(what, reason.to_owned(), lost, false, linux));
    never(
        "ceilings on memory and disk space",
        "macOS has no control groups, and its rlimits bind neither",
        "an end for a call that takes all there is",
    );
    never(
        "an end for every process",
        "macOS has no PID namespaces: processes are found by the session that their call began in",
        "the end of a process that makes a session of its own (setsid)",
    );
    if policy.network.mode == NetworkMode::Loopback {
        never("a loopback of each call's own", "macOS has no network namespaces", "that servers on this machine are out of reach of calls");
    }
    out
}

/// A policy's profile, for a session that is nobody's.
fn profile(policy: &Policy) -> Result<crate::sandbox::macos::profile::Profile, String> {
    let nowhere = std::path::Path::new("/Users/Shared/portcullis-doctor");
    let session = Session {
        workspace: nowhere.join("workspace"),
        home: nowhere.join("home"),
        private: nowhere.join("private"),
        state: nowhere.join("state"),
        linked: None,
        environment: std::collections::BTreeMap::new(),
    };
    let plan = Plan::new(policy, &session).map_err(|error| error.to_string())?;
    render(&plan, &Facts { proxy: Some(crate::egress::PORT), ..Facts::default() }).map_err(|refusal| refusal.to_string())
}

#[cfg(target_os = "macos")]
impl Machine {
    /// Looks at this one: a profile is tried, with a program that it lets run and with something that it does not let it do.
    pub(super) fn look() -> Self {
        let attempt = |words: &[&str]| {
            let policy = policy::preset(policy::load::DEFAULT_PRESET).map_err(|error| error.to_string())?;
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            run(&crate::sandbox::macos::arguments::arguments(&profile(&policy)?, &words))
        };
        let starts = attempt(&["/usr/bin/true"]).and_then(|(ended, said)| if ended { Ok(()) } else { Err(said) });
        let keeps = match attempt(&["/bin/ls", "/Users"]) {
            Ok((false, _)) => Ok(()),
            Ok((true, _)) => Err("a program under the profile listed the folder of all users".to_owned()),
            Err(reason) => Err(reason),
        };
        let system = std::fs::read_to_string("/System/Library/CoreServices/SystemVersion.plist").unwrap_or_default();
        Self { product: product(&system), sandbox_exec: std::path::Path::new(SANDBOX_EXEC).exists(), starts, keeps }
    }
}

/// Whether it ended well, and what it said.
#[cfg(target_os = "macos")]
#[allow(clippy::disallowed_methods, reason = "the person's own word started this, and the programs are the system's")]
fn run(words: &[String]) -> Result<(bool, String), String> {
    let mut command = std::process::Command::new(SANDBOX_EXEC);
    let ended =
        command.args(words).env_clear().current_dir("/").stdin(std::process::Stdio::null()).output().map_err(|error| error.to_string())?;
    Ok((ended.status.success(), String::from_utf8_lossy(&ended.stderr).trim().to_owned()))
}

/// The version that the system's own list of properties names.
pub(super) fn product(plist: &str) -> Option<String> {
    let (_, rest) = plist.split_once("<key>ProductVersion</key>")?;
    let (_, rest) = rest.split_once("<string>")?;
    rest.split_once("</string>").map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { product: Some("26.1".to_owned()), sandbox_exec: true, starts: Ok(()), keeps: Ok(()) }
    }

    fn preset<'a>(report: &'a Report, name: &str) -> &'a Preset {
        report.presets.iter().find(|preset| preset.name == name).unwrap()
    }

    #[test]
    fn a_mac_with_all_that_there_is_enforces_in_part_and_says_what_no_mac_has() {
        let report = Report::new(&machine());
        assert_eq!((report.verdict.enforced, report.exit()), (Enforced::Part, Exit::Sandbox));
        let text = report.text(100_000, Paint::PLAIN);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [
            "macOS 26.1",
            "sandbox-exec had /usr/bin/sandbox-exec",
            "setrlimit(2)",
            "ceilings on memory and disk space",
            "no PID namespaces",
            "a loopback of each call's own",
        ] {
            assert!(words.contains(said), "{said}: {text}");
        }
        assert!(
            text.trim_end()
                .lines()
                .last()
                .unwrap()
                .starts_with("Verdict: the default preset, workspace-write, can be enforced in part only")
        );
        let whats = |name: &str| preset(&report, name).lacks.iter().map(|lack| lack.what.clone()).collect::<Vec<_>>();
        assert!(whats("workspace-write").contains(&"a loopback of each call's own".to_owned()));
        assert_eq!(whats("read-only"), ["ceilings on memory and disk space", "an end for every process"]);
    }

    #[test]
    fn without_what_enforces_nothing_runs_and_the_reason_is_named() {
        let gone = Machine { sandbox_exec: false, starts: Err("No such file or directory".to_owned()), ..machine() };
        let broken = Machine { starts: Err("sandbox-exec: unbound variable: file-test-existence".to_owned()), ..machine() };
        let open = Machine { keeps: Err("a program under the profile listed the folder of all users".to_owned()), ..machine() };
        for (machine, said) in
            [(gone, "there is no /usr/bin/sandbox-exec"), (broken, "unbound variable"), (open, "listed the folder of all users")]
        {
            let report = Report::new(&machine);
            assert!(report.presets.iter().all(|preset| preset.enforced == Enforced::Refused), "{said}");
            assert!(report.text(100_000, Paint::PLAIN).contains(said), "{said}");
        }
    }

    #[test]
    fn what_a_profile_cannot_hold_stops_the_policy_with_its_reason() {
        let text = "schema = 1\nname = \"p\"\n[filesystem]\nwrite = [\"@workspace\"]\nprotect = [\"*/x\"]";
        let lacks = lacks(&policy::load::check_text("p.toml", text).unwrap().complete(), &machine());
        assert!(lacks.iter().any(|lack| lack.stops && lack.reason.contains("only the last part of a pattern")), "{lacks:?}");
    }

    #[test]
    fn the_json_object_has_the_keys_that_are_documented() {
        let json = serde_json::to_value(Report::new(&machine())).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["macos", "portcullis", "presets", "verdict", "version"]);
        let keys: Vec<&str> = json["macos"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["applicable", "built", "keeps", "product", "sandbox_exec", "starts"]);
    }

    #[test]
    fn the_version_is_read_from_the_systems_list() {
        let plist = "<dict>\n<key>ProductName</key>\n<string>macOS</string>\n<key>ProductVersion</key>\n<string>26.1</string>\n</dict>";
        assert_eq!(product(plist).as_deref(), Some("26.1"));
        assert_eq!(product("nothing"), None);
    }
}
