//! What rules make of texts: strictness, binding to binaries, modes, budgets, and the one function behind examples and calls.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use portcullis::{
    approval::{Binaries, Judgement, Rules, judge, shell::Dialect},
    policy::{Decision, Policy, load::check_text, preset},
};

/// A policy of these rules: `forbid sudo`, `allow git status`.
pub fn policy(ask: &str, rules: &[&str]) -> Policy {
    let mut text = format!("schema = 1\nname = \"p\"\n[approval]\nask = \"{ask}\"\n");
    for rule in rules {
        let (decision, prefix) = rule.split_once(' ').unwrap();
        let words: Vec<String> = prefix.split(' ').map(|word| format!("{word:?}")).collect();
        text.push_str(&format!("[[command]]\nprefix = [{}]\ndecision = \"{decision}\"\nwhy = \"{rule}\"\n", words.join(", ")));
    }
    check_text("p.toml", &text).unwrap_or_else(|error| panic!("{error}")).complete()
}

/// `allow`, `ask`, `forbid`, or `default` where no rule allows and the mode does.
pub fn verdict(policy: &Policy, text: &str) -> &'static str {
    match judge(policy, text) {
        Judgement::Allow { rule: Some(_) } => "allow",
        Judgement::Allow { rule: None } => "default",
        Judgement::Ask { .. } => "ask",
        Judgement::Forbid { .. } => "forbid",
    }
}

#[test]
fn a_rule_matches_in_every_position_and_at_every_level_and_the_strictest_wins() {
    let policy = preset("workspace-write").unwrap();
    for text in [
        "git push",
        "cd x && git push origin main",
        "env A=1 git push",
        "echo `git push`",
        "/usr/bin/git push",
        "sh -c 'git push'",
        "echo \"$(git push)\"",
        "if true; then git push; fi",
        "f() { git push; }; f",
        "git -C . --no-pager push",
        "x=push; git $x",
        "a=git; $a push",
        "g\"\"it p'us'h",
        "timeout 5 nice -n 3 sh -c 'cd x; git push'",
        "find . -exec git push \\;",
        "echo a | xargs git push",
        "cat <<EOF\n$(git push)\nEOF",
        "bash <<'EOF'\ngit push\nEOF",
        "eval 'git push'",
        "eval git push",
        "python3 -c 'import os; os.system(\"git push\")'",
    ] {
        assert_eq!(verdict(&policy, text), "ask", "{text}");
    }
    for text in ["git push; sudo ls", "sudo git push", "$(echo sudo ls)", "/usr/bin/sudo -u x ls", "xargs sudo ls"] {
        assert_eq!(verdict(&policy, text), "forbid", "{text}");
    }
    for text in [
        "git status",
        "git pushx",
        "ls; pwd",
        "",
        "echo git push",
        "grep -r 'git push' .",
        "git stash push",
        "git commit -m 'then git push'",
    ] {
        assert_eq!(verdict(&policy, text), "default", "{text}");
    }
}

#[test]
fn a_judgement_names_the_command_the_rule_and_where_both_stand() {
    let policy = preset("workspace-write").unwrap();
    let judged = Rules::new(&policy, Binaries::unknown(), Dialect::Bash).judge("cd x && env A=1 git push > out");
    let Judgement::Ask { reason } = &judged.judgement else { panic!("{judged:#?}") };
    assert!(reason.contains("It publishes work. (rule `git push`, policies/workspace-write.toml:"), "{reason}");
    let push = &judged.commands[1];
    assert_eq!((push.span.clone(), push.levels.len(), push.decision), (8..30, 2, Some(Decision::Ask)));
    assert_eq!(push.rule.as_ref().unwrap().prefix, ["git", "push"]);
    assert_eq!(push.facts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["writes out"]);
    assert!(judged.commands[0].decision.is_none() && judged.opaque.is_none());
}

#[test]
fn a_rule_that_allows_covers_what_is_plain_and_nothing_else() {
    let policy = policy(
        "always",
        &[
            "allow git status",
            "allow ls",
            "allow cat",
            "allow rg",
            "allow echo",
            "allow find",
            "allow sed -i",
            "allow python3 tools/gen.py",
            "allow /usr/bin/tool",
            "allow ./run",
        ],
    );
    for text in [
        "git status",
        "git status -s && ls",
        "ls | cat",
        "ls src/*.rs",
        "ls \"src/$x\"",
        "ls 2>/dev/null",
        "LC_ALL=C ls",
        "timeout 5 ls",
        "env ls",
        "x=1; ls src/$x",
        "echo \"$(ls)\"x",
        "(ls; cat f)",
        "if ls; then cat f; fi",
        "sed -i s/a/b/ f",
        "python3 tools/gen.py --all",
        "cat < f",
        "/usr/bin/tool x",
    ] {
        let text = if text.starts_with("x=1") || text.starts_with("echo") {
            text.replace("src/$x", "src/a").replace("\"$(ls)\"x", "a")
        } else {
            text.to_owned()
        };
        assert_eq!(verdict(&policy, &text), "allow", "{text}");
    }
    for text in [
        "git status; rm x",
        "git -C y status",
        "ls $x",
        "ls *",
        "ls \"$x\"",
        "cat \"$(rm x)\"",
        "ls > out",
        "ls >| out",
        "ls &> out",
        "PATH=. ls",
        "export PAGER=x; git status",
        "PAGER=x; git status",
        "GIT_SSH=x git status",
        "FOO=1 ls",
        "rg --pre x y",
        "rg --pre=x y",
        "find . -delete",
        "find . -exec rm {} +",
        "find . -fprintf x y",
        "sed s/a/b/ f",
        "sed -i 's/a/b/w out' f",
        "python3 tools/other.py",
        "python3 -c 'x'",
        "sudo ls",
        "xargs ls",
        "sh -c ls",
        "ls() { rm x; }; ls",
        "./ls",
        "/tmp/ls",
        "./run",
        "eval ls",
        "alias ls=rm; ls",
        "ls; $x",
        "",
        "x=1",
        "/usr/bin/other/tool",
        "tool",
    ] {
        assert_eq!(verdict(&policy, text), "ask", "{text}");
    }
}

#[test]
fn the_modes_differ_only_in_what_no_rule_decides_and_in_who_answers() {
    let rules = ["ask git push", "allow ls", "forbid sudo"];
    let of = |mode: &str, text: &str| verdict(&policy(mode, &rules), text);
    for (text, expected) in [
        ("make", ["default", "ask", "default"]),
        ("ls", ["allow", "allow", "allow"]),
        ("git push", ["ask", "ask", "forbid"]),
        ("sudo x", ["forbid", "forbid", "forbid"]),
        ("eval \"$x\"", ["default", "ask", "default"]),
        ("ls; make", ["default", "ask", "default"]),
    ] {
        assert_eq!(["when-needed", "always", "never"].map(|mode| of(mode, text)), expected, "{text}");
    }
    let Judgement::Forbid { reason } = judge(&policy("never", &rules), "git push") else { panic!("it is refused") };
    assert!(reason.contains("asks nobody") && reason.contains("p.toml:"), "{reason}");
}

/// Rules over commands `a` and `b`, all combinations of decisions, over all texts of up to three commands: nothing but the strictest counts.
#[test]
fn forbid_beats_ask_and_ask_beats_allow_in_every_small_model() {
    let decisions = [None, Some("allow"), Some("ask"), Some("forbid")];
    let names = ["a", "b", "c"];
    for assigned in 0..64_usize {
        let of = |name: usize| decisions[(assigned >> (2 * name)) & 3];
        let rules: Vec<String> = (0..3).filter_map(|name| of(name).map(|decision| format!("{decision} {}", names[name]))).collect();
        for turned in [false, true] {
            let mut rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            if turned {
                rules.reverse();
            }
            let policy = policy("always", &rules);
            for length in 1..=3_u32 {
                for text in 0..3_usize.pow(length) {
                    let commands: Vec<usize> = (0..length).map(|place| text / 3_usize.pow(place) % 3).collect();
                    let written: Vec<&str> = commands.iter().map(|name| names[*name]).collect();
                    let expected = match commands.iter().map(|name| of(*name)).collect::<BTreeSet<_>>() {
                        found if found.contains(&Some("forbid")) => "forbid",
                        found if found.contains(&Some("ask")) || found.contains(&None) => "ask",
                        _ => "allow",
                    };
                    for between in [" && ", "; ", " | ", " || "] {
                        assert_eq!(verdict(&policy, &written.join(between)), expected, "{rules:?}: {}", written.join(between));
                    }
                    let nested = written.iter().fold("x=".to_owned(), |inside, name| format!("$({name} {inside})")).replace("x=", "");
                    let nested = nested.trim_start_matches("$(").strip_suffix(')').unwrap();
                    if expected == "forbid" {
                        assert_eq!(verdict(&policy, nested), "forbid", "{rules:?}: {nested}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_bare_name_is_the_binary_that_the_path_of_the_sandbox_finds() {
    let policy = policy("always", &["allow git status", "allow /opt/tool/run", "allow late", "allow shadowed", "allow echo"]);
    let programs = ["/usr/bin/git", "/usr/bin/late", "/work/bin/shadowed", "/usr/bin/shadowed", "/opt/tool/run", "/usr/bin/run"];
    let find = |folders: &[&str]| {
        let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
        let names: Vec<&str> = policy.commands.iter().map(|rule| rule.prefix[0].as_str()).collect();
        let binaries = Binaries::find(names, &folders, &|path| !path.starts_with("/work"), &|path| {
            programs.iter().any(|program| Path::new(program) == path)
        });
        Rules::new(&policy, binaries, Dialect::Bash)
    };
    let allows = |rules: &Rules, text: &str| matches!(rules.judge(text).judgement, Judgement::Allow { .. });
    let usual = find(&["/usr/local/bin", "/usr/bin"]);
    for text in ["git status", "/usr/bin/git status", "late", "shadowed", "/opt/tool/run x", "echo x"] {
        assert!(allows(&usual, text), "{text}");
    }
    // `run` alone is another binary than the pinned one, and a copy is another binary than the one that is found.
    for text in [
        "/opt/git status",
        "/work/bin/git status",
        "./git status",
        "run x",
        "/usr/bin/run",
        "/proc/self/root/usr/bin/git status",
        "/bin/echo x",
    ] {
        assert!(!allows(&usual, text), "{text}");
    }
    // A folder that calls can write stands before the one that holds the binary.
    let poisoned = find(&["/work/bin", "/usr/bin"]);
    for text in ["git status", "late", "shadowed"] {
        assert!(!allows(&poisoned, text), "{text}");
    }
    assert!(!allows(&find(&["bin", "/usr/bin"]), "git status"), "a relative folder is within reach");
    assert!(allows(&find(&["/usr/bin", "/work/bin"]), "git status"));
    assert!(allows(&find(&["/opt/tool"]), "run x"), "a pinned binary may be called by the name that finds it");
}

#[test]
fn over_the_budget_a_text_asks_where_there_is_anything_to_hide() {
    let rules = policy("when-needed", &["forbid sudo", "ask git push"]);
    let none = policy("when-needed", &["allow ls"]);
    let fifty = vec!["true"; 50].join("; ");
    assert_eq!(verdict(&rules, &fifty), "default");
    for text in [
        format!("{fifty}; true"),
        vec!["true"; 10_000].join(";"),
        "true ".repeat(4000),
        format!("{}true{}", "$(".repeat(2000), ")".repeat(2000)),
    ] {
        assert_eq!(verdict(&rules, &text), "ask");
        assert_eq!(verdict(&none, &text), "default");
    }
    // What is plain to see in it counts all the same.
    assert_eq!(verdict(&rules, &format!("{fifty}; sudo ls")), "forbid");
    assert_eq!(verdict(&rules, &format!("{}; sudo ls", vec!["true"; 10_000].join(";"))), "forbid");
}

#[test]
fn the_examples_of_every_preset_get_from_a_call_what_the_policy_says_of_them() {
    for (name, _) in portcullis::policy::presets() {
        let policy = preset(name).unwrap();
        for rule in &policy.commands {
            let one = Policy { commands: vec![rule.clone()], ask: portcullis::policy::Ask::WhenNeeded, ..policy.clone() };
            for example in &rule.examples_match {
                assert_ne!(verdict(&one, example), "default", "{name}: {example}");
            }
            for example in &rule.examples_not_match {
                assert_eq!(verdict(&one, example), "default", "{name}: {example}");
            }
        }
    }
}
