//! Published ways around command rules (2025 and 2026), each with several forms, and what holds for them here. The numbers are those of the
//! collection that they were taken from; the names are those of the products and records in which they were found.

use portcullis::{
    approval::{Binaries, Judgement, Rules, shell::Dialect},
    policy::preset,
    tools::definitions,
};

use crate::rules::{policy, verdict};

/// Under `always`: everything but what a rule allows asks.
const ALLOWED: [&str; 16] = [
    "allow echo",
    "allow ls",
    "allow cat",
    "allow rg",
    "allow find",
    "allow sed",
    "allow awk",
    "allow jq",
    "allow less",
    "allow sort",
    "allow git status",
    "allow git log",
    "allow cd",
    "allow date",
    "allow env",
    "allow docker ps",
];

/// Texts that no rule may allow, although each begins with a command that one does.
fn ask(case: &str, texts: &[&str]) {
    let policy = policy("always", &ALLOWED);
    for text in texts {
        assert_eq!(verdict(&policy, text), "ask", "{case}: {text}");
    }
}

/// Texts that stay allowed, so that the refusals beside them mean something.
fn allow(case: &str, texts: &[&str]) {
    let policy = policy("always", &ALLOWED);
    for text in texts {
        assert_eq!(verdict(&policy, text), "allow", "{case}: {text}");
    }
}

/// Texts in which a rule that forbids `rm` must see it, whatever else is allowed.
fn forbid(case: &str, texts: &[&str]) {
    for mode in ["when-needed", "always", "never"] {
        let policy = policy(mode, &["allow echo", "allow env", "allow ls", "allow cd", "forbid rm", "ask git push"]);
        for text in texts {
            assert_eq!(verdict(&policy, text), "forbid", "{case} ({mode}): {text}");
        }
    }
}

#[test]
fn case_34_an_injection_behind_a_safe_command_is_not_covered() {
    for (prefix, argument) in [("echo", "x"), ("ls", "."), ("cat", "f"), ("rg", "x"), ("sort", "f"), ("git status", "-s"), ("date", "+%s")]
    {
        let (case, command) = ("34", format!("{prefix} {argument}"));
        allow(case, &[&command]);
        let forms = [
            "{}; rm y",
            "{} & rm y",
            "{}\nrm y",
            "{} && rm y",
            "{} || rm y",
            "{} | rm y",
            "{} |& rm y",
            "{} $(rm y)",
            "{} `rm y`",
            "{} \"$(rm y)\"",
            "{} \"`rm y`\"",
            "{} <(rm y)",
            "{} <<EOF\n$(rm y)\nEOF",
            "{} <<< $(rm y)",
            "{} > f; rm y",
            "rm y; {}",
            "{} ${x:-$(rm y)}",
            "{} $((x[$(rm y)]))",
            "( {}; rm y )",
            "{ {}; rm y; }",
            "{} \\\n; rm y",
            "{} # c\nrm y",
            "{} '\n' ; rm y",
            "{}\r\nrm y",
            "if {}; then rm y; fi",
            "! {} || rm y",
        ];
        let texts: Vec<String> = forms.iter().map(|form| form.replacen("{}", &command, 1)).collect();
        ask(case, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    }
    allow("34", &["echo 'a; rm y'", "echo \"a && rm y\"", "echo a\\;rm", "echo '$(rm y)'", "echo x # rm y"]);
}

#[test]
fn case_35_an_option_that_runs_a_program_is_not_covered_by_the_tools_name() {
    allow("35", &["rg --context 3 x", "rg -n x src"]);
    ask(
        "35",
        &[
            "rg --pre ./x y",
            "rg --pre=./x y",
            "rg --hostname-bin x y",
            "RIPGREP_CONFIG_PATH=x rg y",
            "export RIPGREP_CONFIG_PATH=x; rg y",
            "env RIPGREP_CONFIG_PATH=x rg y",
        ],
    );
}

#[test]
fn case_36_separators_bundles_and_values_are_read_as_the_shell_and_the_tool_read_them() {
    forbid("36", &["rm${IFS}-rf${IFS}x", "rm$IFS-rf$IFS/x", "rm -rf x", "rm  -rf x", "rm\t-rf x", "rm -- x"]);
    ask("36", &["ls$IFS-la", "echo${IFS}x;rm${IFS}y", "IFS=x; echo axb"]);
    let rules = policy("when-needed", &["ask rm -rf", "ask tool --force"]);
    for text in [
        "rm -rf x",
        "rm -fr x",
        "rm -r -f x",
        "rm -vrf x",
        "rm -r x -f",
        "tool --force",
        "tool --force=yes",
        "tool x --force",
        "tool --forc",
    ] {
        assert_eq!(verdict(&rules, text), "ask", "36: {text}");
    }
    for text in ["rm -r x", "rm x", "rm -- -rf", "tool -- --force", "tool --fo1"] {
        assert_eq!(verdict(&rules, text), "default", "36: {text}");
    }
}

#[test]
fn case_37_sed_that_writes_or_runs_is_not_covered_by_the_name_of_sed() {
    allow("37", &["sed -n 5p f", "sed -n '1,20p' f", "sed 's/a/b/g' f", "sed -e s/a/b/ f", "sed -E 's|x|y|' f", "sed '/x/d' f"]);
    ask(
        "37",
        &[
            "sed -n 'w out' f",
            "sed 's/a/b/w out' f",
            "sed 's/a/b/e' f",
            "sed 's/a/b/ge' f",
            "sed -i s/a/b/ f",
            "sed -i.bak s/a/b/ f",
            "sed --in-place s/a/b/ f",
            "sed -ni p f",
            "sed '1e rm y' f",
            "sed e f",
            "sed -f script f",
            "sed -fscript f",
            "sed --file=script f",
            "sed -e p -e 'w out' f",
            "echo x | sed 'w out'",
            "sed 's/a/b/;w out' f",
            "sed 's/a/b/\nw out' f",
            "sed \"$x\" f",
            "sed --expression='e rm y' f",
            "sed 's/x/\\/w y/' f",
            "sed -ne'w out' f",
        ],
    );
}

#[test]
fn case_38_find_that_runs_or_deletes_is_not_covered_by_the_name_of_find() {
    allow("38", &["find . -name '*.rs'", "find src -type f -maxdepth 2"]);
    ask(
        "38",
        &[
            "find . -exec rm {} \\;",
            "find . -exec rm {} +",
            "find . -execdir rm {} \\;",
            "find . -ok rm {} \\;",
            "find . -okdir rm {} \\;",
            "find . -delete",
            "find . -fprintf out x",
            "find . -fprint out",
            "find . -fprint0 out",
            "find . -fls out",
            "find . -exec sh -c 'rm y' \\;",
            "find . $x",
            "sort -o out f",
            "sort --output=out f",
            "sort --outp=out f",
            "sort --compress-program=x f",
            "less -kx f",
            "less --lesskey-file=x f",
        ],
    );
    forbid(
        "38",
        &["find . -exec rm {} \\;", "find . -name x -exec echo {} \\; -exec rm {} +", "find . -exec env sh -c 'echo x; rm y' \\;"],
    );
}

#[test]
fn case_39_no_language_is_classed_by_its_file_arguments() {
    ask(
        "39",
        &[
            "awk '{print $1}' f",
            "awk 'BEGIN{system(\"rm y\")}'",
            "awk '{print > \"out\"}' f",
            "awk -f prog f",
            "jq -L . x",
            "jq -f prog",
            "jq --from-file=prog",
            "perl -e x",
            "perl f",
            "python3 f.py",
            "python3 -c x",
            "python3.12 -m x",
            "node -e x",
            "node --eval=x",
            "ruby -e x",
            "vim -c '!rm y' f",
            "echo x | python3",
            "python3 <<EOF\nx\nEOF",
        ],
    );
    let named = policy("always", &["allow awk {print}", "allow python3 tools/gen.py", "allow jq ."]);
    for (text, expected) in [
        ("awk '{print}' f", "allow"),
        ("awk '{print}; BEGIN{system(\"x\")}' f", "ask"),
        ("awk -f p '{print}'", "ask"),
        ("python3 tools/gen.py", "allow"),
        ("python3 -c x tools/gen.py", "ask"),
        ("python3 - tools/gen.py", "ask"),
        ("jq . f", "allow"),
        ("jq -L x . f", "ask"),
        ("jq . -L x f", "ask"),
    ] {
        assert_eq!(verdict(&named, text), expected, "39: {text}");
    }
}

#[test]
fn case_40_a_clobbering_redirection_is_a_write_whatever_shell_reads_it() {
    allow("40", &["echo x 2>/dev/null", "echo x 2>&1", "cat < f"]);
    ask(
        "40",
        &[
            "echo x > f",
            "echo x >| f",
            "echo x >! f",
            "echo x >>f",
            "echo x >>| f",
            "echo x >>! f",
            "echo x &> f",
            "echo x &>> f",
            "echo x >& f",
            "echo x >&! f",
            "echo x <> f",
            "echo x 3> f",
            "> f",
            "> f echo x",
            "{ echo x; } > f",
            "for i in a; do echo $i; done > f",
            "f() { echo x; } > f; f",
            "zsh -c 'echo x >! f'",
            "zsh -c 'ls *(e:rm:)'",
            "fish -c 'ls'",
        ],
    );
    let posix = Rules::new(&policy("always", &ALLOWED), Binaries::unknown(), Dialect::Posix);
    for text in ["echo x &> f", "echo x |& cat", "echo <(ls)", "[[ -f x ]]", "echo ${x//a/b}", "cat <<< x", "function f { ls; }"] {
        assert!(posix.judge(text).opaque.is_some(), "40: {text}");
    }
}

#[test]
fn case_41_expansions_that_evaluate_are_opaque() {
    let rules = Rules::new(&policy("always", &ALLOWED), Binaries::unknown(), Dialect::Bash);
    for text in [
        "echo ${v@P}",
        "echo ${v:=$(rm y)}",
        "echo ${v=x}",
        "echo ${!v}",
        "echo ${v:-$(rm y)}",
        "echo \"${v:-`rm y`}\"",
        "echo ${v[$(rm y)]}",
        "echo ${v:$(rm y)}",
        "echo ${v:i}",
        "echo $((v))",
        "echo $((a[$(rm y)]))",
        "echo $[v]",
        "echo ${v/x/$(rm y)}",
        "echo ${v#$(rm y)}",
        "echo ${!v@}",
        "echo ${v@Q}",
        "(( v ))",
        "let v=x",
        "[[ $v -eq 1 ]]",
        "[[ -v v[$(rm y)] ]]",
        "test -v 'v[$(rm y)]'",
        "[ $v ]",
        "printf -v 'v[$(rm y)]' x",
        "read 'v[$(rm y)]'",
        "unset 'v[$(rm y)]'",
        "declare -i v=x",
        "declare 'v[$(rm y)]=1'",
        "v[$(rm y)]=1",
        "v=(x)",
        "declare -n v=x",
        "for ((i=0;i<1;i++)); do ls; done",
        "echo $'x'",
        "echo $\"x\"",
        "mapfile -C rm -c 1 v",
        "x=1; \"$x\"",
        "$x",
        "`ls`",
        "$(ls)",
        "{ls,x}",
        "l[s]",
        "l*",
        "~/ls",
        "coproc ls",
        "trap 'rm y' EXIT",
        "eval x",
        ". f",
        "source f",
        "exec > f",
        "shopt -s extglob",
        "echo !(x)",
        "alias ls=rm",
        "enable -n echo",
        "hash -p /x ls",
        "set -k",
        "set -o posix",
        "PS4='$(rm y)'; set -x",
        "BASH_ENV=f bash -c ls",
        "complete -C rm x",
        "compgen -C rm x",
        "echo \"$\\\n(rm y)\"",
        "cat <<EOF\nx \\\nEOF\nrm y\nEOF",
    ] {
        assert!(rules.judge(text).opaque.is_some(), "41: {text}");
    }
    for text in [
        "echo ${v} \"${v:-x}\" ${#v} ${v%.c} $((1 + 2))",
        "[[ $# -gt 1 ]]",
        "[ \"$v\" = x ]",
        "declare v=x",
        "export v=\"$w\"",
        "[[ $v == x* ]]",
        "set -euo pipefail",
    ] {
        assert!(rules.judge(text).opaque.is_none(), "41: {text}: {:?}", rules.judge(text).opaque);
    }
}

#[test]
fn case_42_a_poisoned_environment_ends_what_is_allowed() {
    allow("42", &["git log", "cd src && git log", "x=1; git log", "LC_ALL=C git log", "NO_COLOR=1 git log"]);
    for variable in [
        "PAGER",
        "GIT_PAGER",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_DIR",
        "GIT_CONFIG_COUNT",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "NODE_OPTIONS",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PERL5OPT",
        "RUBYOPT",
        "BASH_ENV",
        "ENV",
        "PATH",
        "IFS",
        "PS4",
        "PROMPT_COMMAND",
        "LESSOPEN",
        "EDITOR",
        "HOME",
        "XDG_CONFIG_HOME",
        "JAVA_TOOL_OPTIONS",
        "DYLD_INSERT_LIBRARIES",
        "BASH_FUNC_git%%",
        "SOMETHING_NEW",
    ] {
        let name = variable;
        ask(
            "42",
            &[
                &format!("export {name}=x; git log"),
                &format!("{name}=x git log"),
                &format!("{name}=x; git log"),
                &format!("env {name}=x git log"),
                &format!("declare -x {name}=x; git log"),
                &format!("typeset {name}=x && git log"),
                &format!("readonly {name}=x; git log"),
                &format!("read {name} < f; git log"),
                &format!("printf -v {name} x; git log"),
                &format!("for {name} in x; do git log; done"),
                &format!("unset {name}; git log"),
                &format!("export {name}\ngit log"),
            ],
        );
    }
}

#[test]
fn case_43_with_nothing_allowed_nothing_is() {
    let nothing = policy("always", &[]);
    for text in ["ls", "`ls`", "$(ls)", "echo `ls`", "true", ":", "cd", "", "x=1", "# ls", "[ a ]", "[[ a ]]"] {
        assert_eq!(verdict(&nothing, text), "ask", "43: {text}");
    }
}

#[test]
fn case_44_a_grant_covers_one_simple_command() {
    allow("44", &["cd x", "cd x && ls", "cd x; echo y"]);
    ask("44", &["cd x && rm y", "cd x; make", "echo y && curl z", "cd $(rm y)", "cd x | rm y", "cd x & rm y", "cd x\nrm y"]);
}

#[test]
fn case_45_a_rule_that_forbids_matches_in_any_position() {
    forbid(
        "45",
        &[
            "rm y",
            "ls; rm y",
            "ls && rm y",
            "ls | rm y",
            "(rm y)",
            "( ( rm y ) )",
            "{ rm y; }",
            "if ls; then rm y; fi",
            "while ls; do rm y; done",
            "until rm y; do ls; done",
            "for i in a; do rm $i; done",
            "case a in a) rm y;; esac",
            "f() { rm y; }; f",
            "function f { rm y; }; f",
            "alias q='rm y'; q",
            "alias q=rm\nq y",
            "echo $(rm y)",
            "echo `rm y`",
            "echo \"$(echo \"$(rm y)\")\"",
            "cat <(rm y)",
            "tee >(rm y)",
            "xargs rm",
            "echo y | xargs -n1 rm",
            "xargs -I{} rm {}",
            "find . -exec rm {} +",
            "sh -c 'rm y'",
            "bash -c \"rm y\"",
            "bash -lc 'rm y'",
            "sh -c 'sh -c \"rm y\"'",
            "dash -ec 'ls; rm y'",
            "zsh -c 'rm y'",
            "eval rm y",
            "eval 'rm y'",
            "eval \"r\"\"m y\"",
            "trap 'rm y' EXIT",
            "! rm y",
            "time rm y",
            "time -p rm y",
            "coproc rm y",
            "rm y &",
            "/bin/rm y",
            "/usr/bin/../bin/rm y",
            "./rm y",
            "\\rm y",
            "r\\m y",
            "'rm' y",
            "\"rm\" y",
            "r''m y",
            "r\"\"m y",
            "command rm y",
            "builtin rm y",
            "exec rm y",
            "> f rm y",
            "A=1 rm y",
            "x=rm; $x y",
            "x=rm; \"$x\" y",
            "x=rm; ${x} y",
            "set -- rm y; \"$@\"",
            "cat <<EOF\n$(rm y)\nEOF",
            "cat <<'A' | sh\nrm y\nA",
            "bash <<< 'rm y'",
            "echo 'rm y' | sh",
            "python3 -c 'import os; os.system(\"rm y\")'",
            "perl -e 'system(\"rm y\")'",
            "awk 'BEGIN { system(\"rm y\") }'",
            "[[ -n $(rm y) ]]",
            "x=$(rm y)",
            "export x=$(rm y)",
            "echo ${x:-$(rm y)}",
            "ls > $(rm y)",
            "f() { ls; } > $(rm y); f",
            "select x in a; do rm y; done",
        ],
    );
}

#[test]
fn case_46_beyond_the_budget_nothing_runs_unasked() {
    let rules = policy("when-needed", &["forbid rm", "ask git push"]);
    let separated = |count: usize, last: &str| format!("{}{last}", "true; ".repeat(count));
    for (text, expected) in [
        (separated(49, "true"), "default"),
        (separated(50, "true"), "ask"),
        (separated(49, "rm y"), "forbid"),
        (separated(50, "rm y"), "forbid"),
        (separated(10_000, "true"), "ask"),
        (separated(10_000, "rm y"), "forbid"),
        (format!("{}true{}", "( ".repeat(40), " )".repeat(40)), "ask"),
        (format!("{}rm y{}", "( ".repeat(40), " )".repeat(40)), "forbid"),
        (format!("{}true", "env ".repeat(40)), "ask"),
        (format!("echo {}true{}", "$(echo ".repeat(40), ")".repeat(40)), "ask"),
        (format!("sh -c '{}'", separated(60, "true")), "ask"),
    ] {
        assert_eq!(verdict(&rules, &text), expected, "46: {}…", text.chars().take(40).collect::<String>());
    }
}

#[test]
fn case_47_wrappers_are_opened_down_to_the_program_that_runs() {
    forbid(
        "47",
        &[
            "env rm y",
            "env -i rm y",
            "env -u A B=1 rm y",
            "env -C /x rm y",
            "env - rm y",
            "env -S 'rm y'",
            "env --split-string='rm y'",
            "nice rm y",
            "nice -n 5 rm y",
            "nice -5 rm y",
            "nice --adjustment=5 rm y",
            "ionice -c 3 rm y",
            "timeout 5 rm y",
            "timeout -s KILL -k 1 5 rm y",
            "timeout --signal=KILL 5 rm y",
            "nohup rm y",
            "setsid -w rm y",
            "stdbuf -oL rm y",
            "stdbuf --output=L rm y",
            "time -f x rm y",
            "command -p rm y",
            "exec -a name rm y",
            "sudo rm y",
            "sudo -u root -n rm y",
            "sudo A=1 rm y",
            "sudo -- rm y",
            "sudo -s rm y",
            "doas -u x rm y",
            "su -c 'rm y'",
            "su root -c 'rm y'",
            "chroot /x rm y",
            "chroot --userspec=a /x rm y",
            "unshare -r rm y",
            "unshare --map-root-user rm y",
            "nsenter -t 1 -m rm y",
            "watch rm y",
            "watch -n 1 'ls; rm y'",
            "watch -x rm y",
            "script -qc 'rm y' /dev/null",
            "script -c 'rm y'",
            "strace -f -o x rm y",
            "gdb --args rm y",
            "busybox rm y",
            "toybox rm y",
            "busybox sh -c 'rm y'",
            "xargs -0 -P 4 rm",
            "flock x rm y",
            "flock x -c 'rm y'",
            "taskset -c 1 rm y",
            "ssh host rm y",
            "ssh -p 22 host 'ls; rm y'",
            "docker run --rm -it -v a:b image rm y",
            "docker exec -it box rm y",
            "podman run image sh -c 'rm y'",
            "env nice timeout 5 nohup sh -c 'exec rm y'",
            "parallel rm ::: y",
            "/usr/bin/env rm y",
            "ld-linux-x86-64.so.2 rm y",
            "/lib64/ld-linux-x86-64.so.2 --library-path x /bin/rm y",
            "uv run rm y",
            "npx rm y",
            "env env env rm y",
            "fd -x rm",
            "git -c alias.q='!rm y' q",
            "pkexec rm y",
            "runuser -u x rm y",
            "setpriv --reuid=1 rm y",
            "xvfb-run -a rm y",
            "valgrind rm y",
            "systemd-run rm y",
        ],
    );
}

#[test]
fn case_48_assignments_in_front_hide_nothing_from_a_rule_that_forbids() {
    forbid(
        "48",
        &[
            "A=$HOME rm x",
            "A=1; rm x",
            "A=1 B=2 rm x",
            "A= rm x",
            "A+=1 rm x",
            "A=$(ls) rm x",
            "BASH_ARGV0=x rm x",
            "A=1\nrm x",
            "_=x rm x",
            "A='x y' rm x",
            "A=\"$B\" rm x",
            "A=1 env B=2 rm x",
            "a[0]=1 rm x",
        ],
    );
}

#[test]
fn case_49_descriptors_long_commands_other_daemons_and_anchors() {
    forbid(
        "49",
        &[
            "ls 2>&1; rm y",
            "ls 2>&1 rm; rm y",
            "ls 2>&1|rm y",
            "3>&1 rm y",
            "2>&1 rm y",
            ">&2 rm y",
            "<&0 rm y",
            "ls {fd}>f; rm y",
            "ls 10>&1 && rm y",
            "echo 2>&1>f;rm y",
        ],
    );
    let long = format!("echo {}", "x".repeat(20_000));
    assert_eq!(verdict(&policy("when-needed", &["forbid rm"]), &long), "ask");
    allow("49", &["docker ps"]);
    ask(
        "49",
        &[
            "docker --host tcp://x ps",
            "docker -H tcp://x ps",
            "docker --context x ps",
            "DOCKER_HOST=x docker ps",
            "docker -c x ps",
            "podman --url x ps",
            "podman --remote ps",
        ],
    );
    // A rule is anchored at the program; words further behind are arguments.
    let rules = policy("when-needed", &["forbid deploy", "ask make deploy"]);
    for (text, expected) in [
        ("make deploy", "ask"),
        ("make build deploy", "default"),
        ("echo deploy", "default"),
        ("deploy", "forbid"),
        ("x/deploy", "forbid"),
        ("deployer", "default"),
    ] {
        assert_eq!(verdict(&rules, text), expected, "49: {text}");
    }
}

#[test]
fn case_50_a_prefix_and_a_separator() {
    for separator in [";", "&&", "|", "||", "&", "\n", "|&", " ;", ";\n", "&\n", "\n\n"] {
        ask(
            "50",
            &[
                &format!("ls{separator}curl x"),
                &format!("ls {separator} curl x"),
                &format!("git status{separator}curl x"),
                &format!("curl x{separator}ls"),
            ],
        );
        forbid("50", &[&format!("ls{separator}rm x"), &format!("ls -la {separator} rm x")]);
    }
}

#[test]
fn case_51_every_separator_splits_and_redirections_write() {
    ask(
        "51",
        &[
            "ls > out",
            "ls>out",
            "ls 1>out",
            "ls >>out",
            "ls | tee out",
            "ls && ls > out",
            "ls; ls &> out",
            "(ls) > out",
            "ls 2> err",
            "cat < f > out",
            "ls > \"$x\"",
            "ls > /dev/tcp/host/80",
            "ls > ~/.bashrc",
            "ls > .git/hooks/x",
        ],
    );
    let judged = Rules::new(&policy("always", &ALLOWED), Binaries::unknown(), Dialect::Bash).judge("ls > a; { cat b; } >> c 2> d");
    let facts: Vec<String> = judged.commands.iter().flat_map(|command| &command.facts).map(ToString::to_string).collect();
    assert_eq!(facts, ["writes a", "writes c", "writes d"]);
}

#[test]
fn case_52_options_before_gits_subcommand_are_looked_through_and_not_covered() {
    let before = [
        "-C x",
        "--git-dir=x",
        "--git-dir x",
        "--work-tree=x",
        "-p",
        "--paginate",
        "--exec-path=x",
        "-c core.pager=x",
        "-c core.sshCommand=x",
        "--namespace=x",
        "--bare",
        "--config-env=a=b",
        "-C x -C y",
        "--no-pager",
    ];
    for options in before {
        ask("52", &[&format!("git {options} status"), &format!("git {options} log")]);
        let rules = policy("when-needed", &["ask git push", "forbid git clean"]);
        assert_eq!(verdict(&rules, &format!("git {options} push")), "ask", "52: {options}");
        assert_eq!(verdict(&rules, &format!("git {options} clean -fdx")), "forbid", "52: {options}");
        assert_eq!(verdict(&rules, &format!("git {options} status")), "default", "52: {options}");
    }
    ask(
        "52",
        &[
            "git log --output=x",
            "git log --ext-diff",
            "git grep -O x",
            "git grep --open-files-in-pager=x y",
            "git -c alias.status='!rm y' status",
            "git --unknown status",
        ],
    );
}

#[test]
fn case_53_forbid_beats_ask_beats_allow() {
    // `rules::forbid_beats_ask_and_ask_beats_allow_in_every_small_model` goes through all small models.
    let all = policy("always", &["allow git", "ask git push", "forbid git push --force"]);
    for (text, expected) in [
        ("git push --force", "forbid"),
        ("git push -u x --force", "forbid"),
        ("git push", "ask"),
        ("git pull", "allow"),
        ("git pull && git push", "ask"),
        ("git push; git push --force", "forbid"),
    ] {
        assert_eq!(verdict(&all, text), expected, "53: {text}");
    }
}

#[test]
fn case_54_other_names_for_a_program_are_seen_where_the_text_shows_them_and_meet_the_kernel_where_not() {
    forbid(
        "54",
        &[
            "/proc/self/root/bin/rm y",
            "/proc/1/root/usr/bin/rm y",
            "/lib64/ld-linux-x86-64.so.2 /bin/rm y",
            "ld.so rm y",
            "python3 -c 'import subprocess; subprocess.run([\"rm\", \"y\"])'",
            "node -e 'require(\"child_process\").execSync(\"rm y\")'",
        ],
    );
    // A copy has another name: no rule over names can see it, and none that allows covers it.
    ask("54", &["cp /bin/ls ./q; ./q", "./ls", "/tmp/ls", "/proc/self/root/bin/ls", "/proc/self/fd/3", "ld.so /bin/ls"]);
}

#[test]
fn case_55_no_argument_of_a_tool_relaxes_anything() {
    for tool in definitions() {
        let properties = tool.parameters["properties"].as_object().unwrap();
        for name in properties.keys() {
            for part in ["sandbox", "disable", "danger", "escalat", "unsafe", "bypass", "permission", "approv", "policy", "network"] {
                assert!(!name.contains(part), "55: {name}");
            }
        }
    }
    // What a command says of itself changes no judgement either.
    let rules = policy("when-needed", &["forbid rm"]);
    for text in ["rm y # approved", "rm y --dangerously-disable-sandbox", "APPROVED=1 rm y", ": allow rm; rm y"] {
        assert_eq!(verdict(&rules, text), "forbid", "55: {text}");
    }
}

#[test]
fn case_56_checking_and_running_ask_one_function() {
    // What `judge` says is what the gate's own `Rules` say, of every text in this file's spirit and under every preset.
    for (name, _) in portcullis::policy::presets() {
        let policy = preset(name).unwrap();
        let rules = Rules::new(&policy, Binaries::unknown(), Dialect::Bash);
        for text in ["git push", "sudo ls", "ls", "eval x", "git -C x push", "", "ls > f", "$x"] {
            assert_eq!(portcullis::approval::judge(&policy, text), rules.judge(text).judgement, "56: {name}: {text}");
        }
        // A deny over files changes nothing of what a rule over commands allows.
        let mut denies = policy.clone();
        denies.commands = crate::rules::policy("always", &["allow ls"]).commands;
        assert!(matches!(portcullis::approval::judge(&denies, "ls"), Judgement::Allow { rule: Some(_) }), "56: {name}");
        denies.filesystem.deny.clear();
        assert!(matches!(portcullis::approval::judge(&denies, "ls"), Judgement::Allow { rule: Some(_) }), "56: {name}");
    }
}
