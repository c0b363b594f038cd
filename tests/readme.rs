//! Every example in the README is run: each line of shell in one home and one repository, in the order in which it stands there, and each piece of
//! TOML by the program that reads such a file. (That each command line is one that can be typed, `cli::examples` says.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail as tests do, and have to start the program"
)]

#[path = "fleet/collector.rs"]
#[allow(dead_code, reason = "shared with a suite that needs more of it")]
mod collector;
#[path = "readme/recording.rs"]
mod recording;
#[allow(dead_code, reason = "shared with suites that need more of it")]
#[path = "exec/support.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

use portcullis::model::scripted::{RecordedRequest, ScriptItem, ScriptedModel, Turn};
use support::{Ended, World, binary, finish, one, shell, skip, start};

const README: &str = include_str!("../README.md");

/// What is to be expected of a line that does not simply end with 0.
enum Expect {
    /// It ends with this code, for this reason.
    Ends(i32, &'static str),
    /// It cannot be run here; the reason, or the test that runs it.
    Cannot(&'static str),
}
use Expect::{Cannot, Ends};

/// Each entry is the beginning of a line, and has to be one of a line that is there.
const OTHERWISE: &[(&str, Expect)] = &[
    ("cargo run --release -- demo", Cannot("it builds the program; exec::demo runs `demo`")),
    ("cargo test", Cannot("it is what runs this test")),
    ("cargo install --path .", Cannot("it builds the program; .ci/run does it")),
    (".packaging/build dist", Cannot("it builds the program; .ci/run does it")),
    ("sudo dpkg --install", Cannot("it needs the package; .ci/run installs it")),
    ("portcullis    ", Cannot("it needs a person at a terminal; the suite `chat` has one")),
    ("portcullis grants revoke 1a2b3c4d", Ends(2, "nothing was granted")),
    ("portcullis selftest      ", Cannot("selftest::presets runs it under each preset")),
    ("portcullis selftest --policy locked", Cannot("selftest::presets runs it under each preset")),
    ("claude mcp add", Cannot("it needs another agent; mcp_serve::clients has the official ones call what it adds")),
    ("portcullis mcp review time", Ends(2, "nobody is at the terminal to approve it")),
    ("portcullis policy explain command 'git push origin main'", Ends(1, "it asks")),
    ("portcullis policy explain read ~/.ssh/id_ed25519", Ends(1, "it is refused")),
    ("portcullis policy diff workspace-write networked", Ends(1, "the second lets calls do more")),
    ("portcullis audit verify --anchor 2:a99f", Ends(8, "the head is that of another machine's ledger")),
];

/// A block between fences.
struct Block {
    /// `sh`, `toml`, `console`, or nothing.
    kind: &'static str,
    lines: Vec<&'static str>,
}

fn blocks() -> Vec<Block> {
    let (mut found, mut open) = (Vec::<Block>::new(), false);
    for line in README.lines() {
        match line.strip_prefix("```") {
            Some(kind) if !open => found.push(Block { kind, lines: Vec::new() }),
            None if open => found.last_mut().unwrap().lines.push(line),
            _ => {}
        }
        open ^= line.starts_with("```");
    }
    assert!(!open && found.len() > 20, "{}", found.len());
    found
}

/// What is typed in the blocks, with what the README shows of the answer.
fn typed() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for block in blocks() {
        match block.kind {
            "sh" if block.lines[0].starts_with("#!") => {}
            "sh" => all.extend(block.lines.iter().filter(|line| !line.is_empty()).map(|line| (*line, Vec::new()))),
            "console" => {
                for line in block.lines {
                    match line.strip_prefix("$ ") {
                        Some(line) => all.push((line, Vec::new())),
                        None => all.last_mut().unwrap().1.push(line),
                    }
                }
            }
            "toml" | "" | "yaml" => {}
            other => panic!("no test knows what to do with ```{other}"),
        }
    }
    all
}

/// The one block that begins with a text.
fn block(begin: &str) -> String {
    let found: Vec<String> = blocks().iter().map(|block| block.lines.join("\n") + "\n").filter(|text| text.starts_with(begin)).collect();
    assert_eq!(found.len(), 1, "{begin}: {found:?}");
    found.into_iter().next().unwrap()
}

/// A repository and a home with what the examples name.
fn prepared(model: &ScriptedModel) -> World {
    let world = World::new();
    for folder in ["bin", "home/src/project", "home/bin", "home/.local/share/bash-completion/completions"] {
        fs::create_dir_all(world.path(folder)).unwrap();
    }
    symlink(binary(), world.path("bin/portcullis")).unwrap();
    let provider = |name: &str| format!("[provider.\"{name}\"]\nurl = \"{}\"\nmodel = \"scripted\"\n", model.base_url());
    world.write("state/providers.toml", format!("default = \"scripted\"\n{}{}", provider("scripted"), provider("llama.cpp")));
    world.write("home/.ssh/id_ed25519", "key");
    let executable = |path: &str, text: &str| {
        let path = world.write(path, text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable("home/bin/approve.sh", &block("#!/bin/sh\n# approve.sh"));
    executable("ws/script-from-the-web.sh", "#!/bin/sh\necho from the web\n");
    world.write("ws/question.txt", "What is this?\n");
    world.write("ws/answer.json", r#"{"type": "object", "properties": {"functions": {"type": "array"}}, "required": ["functions"]}"#);
    world.write("ws/package.json", r#"{"name": "project", "version": "1.0.0", "scripts": {"test": "true"}}"#);
    world.write("ws/my-policy.toml", block("schema  = 1\nname    = \"docs\""));
    image::RgbImage::new(8, 8).save(world.path("ws/sketch.png")).unwrap();
    for arguments in
        [&["init", "-q"][..], &["add", "."], &["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "commit", "-qm", "first"]]
    {
        assert_eq!(finish(world.program("git").args(arguments)).code(), Some(0));
    }
    world
}

/// A line as a shell reads it, with addresses that are those of servers here.
fn typing(world: &World, model: &ScriptedModel, sink: &str, line: &str) -> Command {
    let line = line.replace("http://127.0.0.1:8080/v1", &model.base_url()).replace("http://127.0.0.1:4318", sink);
    let mut command = world.program("bash");
    command.args(["-o", "pipefail", "-c", &line]).env("OPENAI_API_KEY", "test-key");
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", world.path("bin").display()));
    command
}

fn has(program: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|folder| std::path::Path::new(folder).join(program).exists())
}

#[test]
fn every_line_of_shell_does_what_it_says() {
    // An answer that every schema here takes, as often as one is asked for, and the one call that `doctor` asks for.
    let answer = |request: &RecordedRequest| {
        let asked = String::from_utf8_lossy(&request.body).contains("Please use the note tool") && request.outputs().is_empty();
        vec![if asked { ScriptItem::call("note", r#"{"text": "portcullis"}"#) } else { ScriptItem::message("{\"functions\": []}") }]
    };
    let model = start((0..64).map(|_| Turn::computed(answer)));
    let (world, sink) = (prepared(&model), collector::Sink::new());
    let (mut ran, mut used) = (0, BTreeSet::new());
    for (line, shown) in typed() {
        let otherwise = OTHERWISE.iter().position(|(begin, _)| line.starts_with(begin));
        used.extend(otherwise);
        let (code, because) = match otherwise.map(|at| &OTHERWISE[at].1) {
            Some(Cannot(why)) => {
                std::io::stderr().write_all(format!("not run here: {line}: {why}\n").as_bytes()).unwrap();
                continue;
            }
            Some(Ends(code, why)) => (*code, *why),
            None => (0, "it is an example of what works"),
        };
        if let Some(lacking) = ["npm", "jq"].into_iter().find(|program| line.contains(program) && !has(program)) {
            assert!(std::env::var_os("PORTCULLIS_NO_SKIP").is_none(), "{lacking} is not installed");
            skip(line, &format!("{lacking} is not installed"));
            continue;
        }
        let ended = finish(&mut typing(&world, &model, &sink.url, line));
        assert_eq!(ended.code(), Some(code), "{line}: {because}\n{ended:#?}");
        said_as_shown(line, &shown, &ended);
        ran += 1;
    }
    assert_eq!(used.len(), OTHERWISE.len(), "an entry of the table is no longer in the README");
    assert!(ran > 35, "{ran}");
    assert!(README.contains(&format!("portcullis_{}-1_amd64.deb", env!("CARGO_PKG_VERSION"))), "the package is that of another version");
    assert!(!sink.taken("/v1/logs").is_empty() && !sink.taken("/v1/traces").is_empty());
}

/// What the README shows of an answer is in it, where it is the same on every machine.
fn said_as_shown(line: &str, shown: &[&str], ended: &Ended) {
    // Counts, times, ids and hashes are those of one machine on one day.
    let varies = ["portcullis policy verify", "portcullis audit"].iter().any(|begin| line.starts_with(begin));
    for part in shown.iter().filter(|part| !varies && !part.is_empty() && **part != "…") {
        assert!(ended.stdout.lines().any(|said| said == *part), "`{part}` is not said by {line}\n{}", ended.stdout);
    }
}

#[test]
fn what_the_readme_shows_of_the_logs_verdicts_is_how_they_are_worded() {
    let model = start([one(shell("true")), Turn::message("Done.")]);
    let world = prepared(&model);
    let run = |line: &str| finish(&mut typing(&world, &model, "", line));
    assert_eq!(run("portcullis exec 'Do it.'").code(), Some(0));
    let log = world.logs().remove(0);
    let changed = fs::read_to_string(&log).unwrap().replace("\"true\"", "\"false\"").replace("\\\"true\\\"", "\\\"false\\\"");
    fs::write(&log, changed).unwrap();
    let verdict = run("portcullis audit verify");
    assert_eq!(verdict.code(), Some(9), "{verdict:#?}");
    let example = block("$ portcullis audit verify\n");
    for part in [" does not match its seal: it was changed, or written without the key", "one log: CHANGED, complete", "ledger  "] {
        assert!(verdict.stdout.contains(part) && example.contains(part), "{part}\n{}\n{example}", verdict.stdout);
    }
}

#[test]
fn the_approver_says_yes_to_a_look_and_no_to_everything_else() {
    let name = "the_approver_says_yes_to_a_look_and_no_to_everything_else";
    if !has("jq") {
        assert!(std::env::var_os("PORTCULLIS_NO_SKIP").is_none(), "{name}: jq is not installed");
        return skip(name, "jq is not installed");
    }
    let model = start([one(shell("git push --dry-run")), one(shell("git push origin main")), Turn::message("Done.")]);
    let world = prepared(&model);
    let line = typed().into_iter().find(|(line, _)| line.contains("--approver ~/bin/approve.sh")).unwrap().0;
    let ended = finish(&mut typing(&world, &model, "", &line.replace("exec ", "exec --json ")));
    let finished = ended.events_of("call.finished");
    // It ran, and git found no place to push to; the other one did not run.
    assert_eq!((finished[0]["status"].as_str(), finished[1]["status"].as_str()), (Some("failed"), Some("refused")), "{ended:#?}");
    assert!(finished[1]["output"].as_str().unwrap().contains("not from here"), "{ended:#?}");
}

#[test]
fn every_piece_of_toml_is_read_by_what_reads_such_a_file() {
    let model = start([]);
    let world = prepared(&model);
    let run = |arguments: &[&str]| finish(&mut world.command(arguments));
    let as_policy = |text: &str| {
        let file = world.write("policies/example.toml", format!("schema = 1\nname = \"example\"\nextends = \"workspace-write\"\n{text}"));
        file.display().to_string()
    };
    let mut kinds = Vec::new();
    for block in blocks().iter().filter(|block| block.kind == "toml") {
        let text = block.lines.join("\n") + "\n";
        let first = block.lines.iter().find(|line| line.starts_with('[')).copied().unwrap_or_default();
        kinds.push(first);
        match first {
            "[provider.desk]" => {
                world.write("state/providers.toml", &text);
                let shown = run(&["providers", "show"]);
                assert!(shown.code() == Some(0) && shown.stdout.contains("32768 tokens"), "{shown:#?}");
                world.write("state/providers.toml", text.replace("context_window", "context_widow"));
                assert_eq!(run(&["providers", "show"]).code(), Some(2));
            }
            "[[hook]]" => {
                let source = |text: &str| portcullis::policy::error::Source::new("hooks.toml", text);
                let hooks = portcullis::hooks::read(&source(&text), &["shell".to_owned()]).unwrap();
                assert_eq!((hooks.len(), hooks[0].command[1].as_str()), (1, "--strict"));
                assert!(portcullis::hooks::read(&source(&text.replace("timeout", "time_out")), &["shell".to_owned()]).is_err());
            }
            // A line of a policy's table, with what `lint` accepts because of it.
            "" => {
                let lint = |text: &str| run(&["policy", "lint", &as_policy(&format!("[network]\n{text}"))]);
                let (accepted, bare) = (lint(&text), lint(text.split('#').next().unwrap()));
                assert!(bare.stdout.contains("open-network"), "{bare:#?}");
                assert!(!accepted.stdout.contains("open-network"), "{accepted:#?}");
            }
            "[filesystem]" | "[network]" | "[audit]" => {
                let whole = if text.starts_with("schema") {
                    world.write("policies/whole.toml", &text).display().to_string()
                } else {
                    as_policy(&text)
                };
                assert_eq!(run(&["policy", "check", &whole]).code(), Some(0), "{text}");
                let broken = fs::read_to_string(&whole).unwrap().replacen(first, "[no_such_table]", 1);
                let broken = world.write("policies/broken.toml", broken).display().to_string();
                assert_eq!(run(&["policy", "check", &broken]).code(), Some(3), "{text}");
            }
            other => panic!("no test knows what reads {other}"),
        }
    }
    assert_eq!(kinds, ["[provider.desk]", "[filesystem]", "", "[network]", "[[hook]]", "[audit]"]);
}
