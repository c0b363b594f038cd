//! What is understood of a text, against what a real bash executes: every program that bash starts must be among the commands that were read.
//!
//! The programs are recorders, so that no tracer is needed and nothing can be harmed: each writes its arguments down and ends, and those that
//! stand for wrappers go on to the real one. The generator is pseudo-random with fixed seeds, so that a failure comes back.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use portcullis::{
    approval::{
        Binaries, Judged, Rules,
        shell::{Dialect, Shape, Word},
    },
    policy::preset,
};

use crate::support::skip;

/// Programs that end at once, and programs that go on to the real one.
const PLAIN: [&str; 8] = ["alpha", "beta", "gamma", "delta", "cat", "grep", "git", "sort"];
const WRAPPERS: [&str; 9] = ["env", "nice", "timeout", "nohup", "setsid", "stdbuf", "xargs", "sh", "find"];
/// How many texts; `PORTCULLIS_TEXTS` asks for more.
const TEXTS: u64 = 500;

/// A small generator (xorshift64*), so that the same texts are made everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }

    /// A word of the shell, in all ways of writing one.
    fn word(&mut self, depth: u32) -> String {
        match self.roll(if depth == 0 { 12 } else { 16 }) {
            0..=3 => self
                .pick(&["one", "two", "-x", "--long=val", "a/b", "x.y", "+3", "=", "a=b", "if", "done", "]", "#x", "x#y", "!"])
                .to_owned(),
            4 => self.pick(&["'single quoted'", "'a;b'", "'$(alpha hidden)'", "''", "'`alpha hidden`'", "'#'", "'a'\\''b'"]).to_owned(),
            5 => self
                .pick(&[
                    "\"double quoted\"",
                    "\"$v\"",
                    "\"a'b\"",
                    "\"\\$(alpha hidden)\"",
                    "\"\\`alpha hidden\\`\"",
                    "\"\"",
                    "\"x$\"",
                    "\"\\\\\"",
                ])
                .to_owned(),
            6 => self.pick(&["pre\"$v\"post", "o'n'e", "t\\wo", "\\;", "\\#", "a\\ b", "x'y'\"z\"", "\\$v", "one\\\ntwo"]).to_owned(),
            7 => self.pick(&["$v", "${v}", "${v:-dflt}", "$nothing", "${#v}", "${v%x}", "\"${v:+set}\"", "$?"]).to_owned(),
            8 => self.pick(&["*", "x*y", "[ab]", "?", "{a,b}", "{1..3}", "{}", "{a", "~", "a{b,c}d"]).to_owned(),
            9 => self.pick(&["$((1 + 2))", "$(( (1+2) * 3 ))", "\"$((4))\""]).to_owned(),
            10 => self.pick(&["täst", "日本", "a,b", "a:b", "%s", "@", "^"]).to_owned(),
            11 => self.pick(&["push", "origin", "status"]).to_owned(),
            12 => format!("$({})", self.list(depth - 1)),
            13 => format!("\"$({})\"", self.list(depth - 1)),
            14 => format!("`{}`", self.simple(0).replace(['\\', '`', '"'], "")),
            _ => format!("<({})", self.pipeline(depth - 1)),
        }
    }

    fn words(&mut self, depth: u32) -> String {
        let count = self.roll(4);
        (0..count).map(|_| format!(" {}", self.word(depth))).collect()
    }

    fn program(&mut self) -> String {
        let name = self.pick(&PLAIN);
        match self.roll(8) {
            0 => format!("\\{name}"),
            1 => format!("'{name}'"),
            2 => format!("{}\"\"{}", &name[..1], &name[1..]),
            _ => name.to_owned(),
        }
    }

    fn redirect(&mut self) -> &'static str {
        self.pick(&[
            "",
            "",
            "",
            "",
            " > out",
            " 2>&1",
            " >> out",
            " < /dev/null",
            " &> out",
            " >| out",
            " <<< here",
            " 2>/dev/null",
            " > out 2>&1",
        ])
    }

    fn simple(&mut self, depth: u32) -> String {
        let assignment = self.pick(&["", "", "", "", "v=1 ", "v='a b' ", "v=$v ", "v=\"$v\" w= "]);
        let (before, program, words, after) = (self.redirect(), self.program(), self.words(depth), self.redirect());
        match self.roll(12) {
            0 => self.builtin(depth),
            1 => format!("{assignment}{}", self.wrapped(depth)),
            2 => format!("{} {assignment}{program}{words}", before.trim()).trim().to_owned(),
            3 => format!("{assignment}{program}{after}{words}"),
            _ => format!("{assignment}{program}{words}{after}"),
        }
    }

    fn builtin(&mut self, depth: u32) -> String {
        let word = self.word(depth);
        match self.roll(12) {
            0 => format!("v={word}"),
            1 => format!("export v={word}"),
            2 => format!("echo {word}"),
            3 => "cd .".to_owned(),
            4 => "set -u; set +u".to_owned(),
            5 => format!("[ -n \"$v\" ] && {}", self.simple(0)),
            6 => format!("test {} = x || {}", "\"$v\"", self.simple(0)),
            7 => format!("[[ $v == a* && -z \"$w\" ]] || {}", self.simple(0)),
            8 => format!("eval '{}'", self.simple(0).replace('\'', "")),
            9 => format!("command {}", self.simple(0)),
            10 => "read v < /dev/null".to_owned(),
            _ => format!("printf '%s' {word}"),
        }
    }

    fn wrapped(&mut self, depth: u32) -> String {
        let program = self.program();
        let inner = format!("{program}{}", self.words(depth.min(1)));
        match self.roll(14) {
            0 => format!("env {inner}"),
            1 => format!("env -i PATH=\"$PATH\" LOG=\"$LOG\" X=1 {inner}"),
            2 => format!("env -u v A='b c' {inner}"),
            3 => format!("nice -n 1 {inner}"),
            4 => format!("timeout -k 1 5 {inner}"),
            5 => format!("nohup {inner} > out"),
            6 => format!("stdbuf -oL {inner}"),
            7 => format!("echo one two | xargs {program} fixed"),
            8 => format!("echo one two | xargs -n 1 {inner}"),
            9 => format!("sh -c '{}'", self.plain_list().replace('\'', "")),
            10 => format!("sh -c \"{}\" name arg", self.plain_list().replace(['\\', '"', '$', '`'], "")),
            11 => format!("find . -maxdepth 0 -exec {program} {{}} {} \\;", self.pick(&["x", "'a b'", "\"\""])),
            12 => format!("env nice timeout 5 sh -c 'exec {} nested'", self.pick(&PLAIN)),
            _ => format!("time {inner}"),
        }
    }

    fn plain_list(&mut self) -> String {
        let first = format!("{} {}", self.pick(&PLAIN), self.pick(&["x", "a b", "-f"]));
        format!("{first}{}{} y", self.pick(&["; ", " && ", " | ", " || "]), self.pick(&PLAIN))
    }

    fn pipeline(&mut self, depth: u32) -> String {
        let count = 1 + self.roll(10) / 6;
        let commands: Vec<String> = (0..count).map(|_| self.command(depth)).collect();
        format!("{}{}", self.pick(&["", "", "", "! "]), commands.join(self.pick(&[" | ", "|", " |& ", " |\n "])))
    }

    fn command(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.simple(0);
        }
        let inner = depth - 1;
        match self.roll(20) {
            0 => format!("( {} )", self.list(inner)),
            1 => format!("{{ {}; }}{}", self.list(inner), self.redirect()),
            2 => format!("if {}; then {}; else {}; fi", self.list(inner), self.list(inner), self.list(inner)),
            3 => format!("for i in {} {}; do {}; done", self.word(inner), self.word(inner), self.list(inner)),
            4 => format!("while {}; do {}; break; done", self.list(inner), self.list(inner)),
            5 => format!("case {} in one|'two') {};; (*) {};; esac", self.word(inner), self.list(inner), self.list(inner)),
            // The name holds the depth, so that no function calls itself.
            6 => format!("f{depth}() {{ {}; }}; f{depth} {}", self.list(inner), self.word(0)),
            7 => format!("cat <<EOF{}\nbody $v $({})\n'\"#;\nEOF\n{}", self.redirect(), self.list(0), self.simple(0)),
            8 => format!("cat <<'E F'\nbody $(alpha hidden) `alpha hidden`\nE F\n{}", self.simple(0)),
            9 => format!("until {}; do break; done", self.list(inner)),
            10 => format!("alpha # comment {}\n{}", self.word(0).replace('\n', ""), self.simple(0)),
            _ => self.simple(depth),
        }
    }

    /// A text with one or two of the shell's marks put in or taken out, so that readings part if they ever do.
    fn damaged(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=self.roll(2) {
            let at = usize::try_from(self.roll(chars.len() as u64)).unwrap();
            let is_mark = !chars[at].is_alphanumeric();
            if is_mark && self.roll(2) == 0 {
                chars.remove(at);
            } else {
                let mark = self.pick(&[
                    "'", "\"", "\\", "$", "`", "(", ")", "{", "}", ";", "&", "|", "<", ">", "#", "!", " ", "\n", "$(", "<<", "$'", "=",
                    "*", "~", "[", "\\\n",
                ]);
                chars.splice(at..at, mark.chars());
            }
            if chars.is_empty() {
                break;
            }
        }
        chars.into_iter().collect()
    }

    fn list(&mut self, depth: u32) -> String {
        let count = 1 + self.roll(12) / 6;
        let mut text = self.pipeline(depth);
        for _ in 1..count {
            let between = self.pick(&["; ", " && ", " || ", "\n", " & ", ";\n"]);
            text = format!("{text}{between}{}", self.pipeline(depth));
        }
        text
    }
}

/// Whether words that ran are what these words may become.
fn becomes(words: &[Word], argv: &[&str]) -> bool {
    let Some((first, rest)) = words.split_first() else { return argv.is_empty() };
    match first.shape {
        Shape::Literal => argv.first() == Some(&first.text.as_str()) && becomes(rest, &argv[1..]),
        Shape::One => argv.first().is_some_and(|word| word.starts_with(&first.lead)) && becomes(rest, &argv[1..]),
        Shape::Any => {
            (0..=argv.len()).any(|count| argv[..count].iter().all(|word| word.starts_with(&first.lead)) && becomes(rest, &argv[count..]))
        }
    }
}

/// A folder of recorders, one to run texts in, and the log.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-test-").tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let stage = Self { folder };
        for name in PLAIN {
            stage.recorder(name, "");
        }
        for name in WRAPPERS {
            let real = ["/usr/bin", "/bin"].iter().map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).exists());
            let real = real.unwrap_or_else(|| panic!("{name} is not installed"));
            stage.recorder(name, &format!("exec {real} \"$@\"\n"));
        }
        stage
    }

    fn recorder(&self, name: &str, then: &str) {
        let path = self.folder.path().join("bin").join(name);
        // A file for each process: `\1` ends a word, `\2` a record, of which one process may leave several, one for each program that it becomes.
        let text = format!("#!/bin/sh\n{{ printf '%s\\1' {name} \"$@\"; printf '\\2'; }} >> \"$LOG.$$\"\n{then}");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a text and gives what was executed, each with its words.
    fn run(&self, text: &str, number: usize) -> Vec<Vec<String>> {
        let place = self.folder.path().join(format!("run-{number}"));
        fs::create_dir_all(place.join("log")).unwrap();
        fs::create_dir_all(place.join("work")).unwrap();
        let log = place.join("log/log");
        #[allow(clippy::disallowed_methods, reason = "a test compares with the real bash")]
        let mut command = Command::new("/bin/bash");
        let child = command
            .args(["-c", text])
            .env_clear()
            .env("PATH", self.folder.path().join("bin"))
            .env("LOG", &log)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(place.join("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        let end = Instant::now() + Duration::from_secs(3);
        while child.try_wait().unwrap().is_none() {
            // A damaged loop may have no end. What ran of it so far counts as well.
            if Instant::now() > end {
                child.kill().unwrap();
                child.wait().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // What a text left in the background may still be at it.
        std::thread::sleep(Duration::from_millis(if text.contains('&') || text.contains("<(") { 60 } else { 0 }));
        let mut ran = Vec::new();
        for entry in fs::read_dir(place.join("log")).unwrap().flatten() {
            let held = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            for record in held.split('\u{2}').filter(|record| !record.is_empty()) {
                // One that was killed while it wrote left no whole record.
                let Some(words) = record.strip_suffix('\u{1}') else { continue };
                ran.push(words.split('\u{1}').map(str::to_owned).collect());
            }
        }
        ran
    }
}

fn rules() -> Rules {
    Rules::new(&preset("workspace-write").unwrap(), Binaries::unknown(), Dialect::Bash)
}

/// The commands of a judgement that `argv` may be.
fn is_among(judged: &Judged, argv: &[&str]) -> bool {
    judged.commands.iter().flat_map(|command| &command.levels).any(|level| becomes(&level.words, argv))
}

/// Runs texts; fails where something ran that was not read. Gives how many texts were understood, and how many programs ran in those.
fn compare(texts: &[String]) -> (usize, usize) {
    let (stage, rules) = (Stage::new(), rules());
    let (mut understood, mut ran) = (0, 0);
    for (number, text) in texts.iter().enumerate() {
        let judged = rules.judge(text);
        if judged.opaque.is_some() {
            continue;
        }
        understood += 1;
        for argv in stage.run(text, number) {
            ran += 1;
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            assert!(
                is_among(&judged, &argv),
                "bash ran {argv:?}, which was not read in this text:\n{text}\n{:#?}",
                judged.commands.iter().map(|command| &command.levels).collect::<Vec<_>>()
            );
        }
    }
    (understood, ran)
}

fn possible(name: &str) -> bool {
    let missing = WRAPPERS.iter().find(|name| !["/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(name).exists()));
    if let Some(missing) = missing.or_else(|| (!Path::new("/bin/bash").exists()).then_some(&"bash")) {
        skip(name, &format!("{missing} is not installed"));
        return false;
    }
    true
}

#[test]
fn every_program_that_bash_runs_of_an_understood_text_was_read_in_it() {
    if !possible("every_program_that_bash_runs_of_an_understood_text_was_read_in_it") {
        return;
    }
    let count = std::env::var("PORTCULLIS_TEXTS").ok().and_then(|count| count.parse().ok()).unwrap_or(TEXTS);
    let text = |seed: u64| {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let text = dice.list(2);
        if seed.is_multiple_of(2) { dice.damaged(&text) } else { text }
    };
    let texts: Vec<String> = (1..=count).map(text).collect();
    let threads: Vec<_> =
        texts.chunks(texts.len().div_ceil(2)).map(<[String]>::to_vec).map(|texts| std::thread::spawn(move || compare(&texts))).collect();
    let (mut understood, mut ran) = (0, 0);
    for thread in threads {
        let (more, programs) = thread.join().unwrap();
        (understood, ran) = (understood + more, ran + programs);
    }
    println!("{understood} of {count} texts understood, {ran} programs ran");
    // A reader that understands nothing would pass all of the above.
    assert!(understood * 3 > texts.len() && ran > understood, "{understood} of {count} texts understood, {ran} programs ran");
}

#[test]
fn texts_that_readers_get_wrong_hide_no_program() {
    if !possible("texts_that_readers_get_wrong_hide_no_program") {
        return;
    }
    let texts = [
        // The end of a line is taken away before tokens are looked for.
        "alpha \"$\\\n(beta)\"",
        "alpha $\\\n(beta)",
        "alpha \"$\\\n{v:-$(beta)}\"",
        "cat <<EOF\n$\\\n(beta)\nEOF",
        "cat <<EOF\nx \\\nEOF\nbeta\nEOF\ngamma",
        "cat <<EOF\n\\\nEOF\nbeta\nEOF\ngamma",
        "cat <<EOF\nE\\\nOF\nbeta\nEOF",
        "cat <<'EOF'\nx \\\nEOF\nbeta",
        "i\\\nf alpha; then beta; fi",
        "alpha &\\\n& beta",
        "alpha |\\\n| beta",
        "alpha <\\\n<EOF\n$(beta)\nEOF",
        "alpha \\\n#x\nbeta",
        "alpha a\\\n#x\nbeta",
        "al\\\npha x",
        // Comments and quotes hide each other.
        "alpha #'\nbeta '\ngamma '",
        "alpha '#' beta\ngamma",
        "alpha a#'b' ; beta",
        "alpha # \\\nbeta",
        "alpha $(beta # )\n)",
        "alpha $(beta # x)\ngamma\n)",
        "alpha `# x` beta",
        "alpha \"# $(beta)\"",
        "alpha '\\'; beta '\\''",
        "alpha \\\"; beta \\\"",
        "alpha \"a`beta`b\"",
        "alpha \"`beta \\\"x\\\"`\"",
        "alpha `beta \\`gamma\\``",
        "alpha '\n'; beta",
        "alpha \"'\"; beta \"'\"",
        "alpha \\'; beta \\'",
        // Here-documents.
        "cat <<EOF\nx\nEOF \nbeta\nEOF\ngamma",
        "cat <<EOF\nx\n EOF\nEOF\nbeta",
        "cat <<-EOF\n\tx\n\tEOF\nbeta",
        "cat <<-EOF\n\t\t$(beta)\n\tEOF\ngamma",
        "cat <<A; cat <<B\n$(alpha)\nA\n$(beta)\nB\ngamma",
        "cat <<\"E\"\"OF\"\n$(alpha)\nEOF\nbeta",
        "cat <<E\\OF\n$(alpha)\nEOF\nbeta",
        "f1() { beta; } <<EOF\n$(gamma)\nEOF\nf1",
        "if alpha; then beta; fi <<EOF\n$(gamma)\nEOF\ndelta",
        "alpha \"$(cat <<EOF\n$(beta)\nEOF\n)\" x",
        "cat <<EOF | alpha\na\nEOF\nbeta",
        "cat <<EOF && alpha x\na `beta`\nEOF\ngamma",
        "cat <<EOF >out 2>&1\n$(alpha)\nEOF\nbeta",
        "alpha 2>&1<<EOF\n$(beta)\nEOF",
        "cat <<''\n$(alpha)\n\nbeta",
        "cat <<$x\n$(alpha)\n$x\nbeta",
        "cat <<EOF\n\\$(alpha) \\\\$(beta) \\`x\nEOF",
        "cat <<EOF\n${v:-$(alpha)}\nEOF",
        "cat <<'A B'\n$(alpha)\nA B\nbeta",
        "cat <<EOF; alpha\nx\nEOF\nbeta",
        "cat <<EOF\nx\nEOF; alpha\nEOF\nbeta",
        "cat <<#\n$(alpha)\n#\nbeta",
        "cat << EOF # <<X\n$(alpha)\nEOF\nbeta",
        // Compounds.
        "for i\nin a b\ndo alpha $i\ndone",
        "for i do alpha; done",
        "for i in $(alpha) \"$(beta)\"; do gamma \"$i\"; done",
        "case $(alpha) in $(beta)) gamma;; *) delta;; esac",
        "case x in x) alpha;; esac; beta",
        "alpha $(case x in x) beta;; esac)",
        "alpha $(case x in (x) beta;; esac)",
        "case x in 'x'|\"y\") alpha;& z) beta;; esac",
        "function f1\n{ alpha; }\nf1",
        "f1()\n(\nalpha\n)\nf1",
        "{ alpha\n}\nbeta",
        "! ! alpha",
        "time alpha | beta",
        "time -p alpha",
        "time -- alpha",
        "alpha & beta & wait",
        "while alpha; do break; done & beta",
        "alpha |\n\nbeta",
        "alpha &&\n# x\nbeta",
        "if alpha; then :; elif beta; then :; else gamma; fi",
        "until ! alpha; do beta; break; done",
        "[[ a == $(alpha) ]] && beta",
        "[[ $(alpha) && ( -n \"$(beta)\" ) ]] || gamma",
        "[[ a =~ $(gamma) ]]",
        "[ -f x ] || alpha",
        "[ \"$(alpha)\" ] && beta",
        "alpha $((1)) $( (beta) )",
        "alpha $((beta); (gamma))",
        "alpha $(( 1 + $(beta) ))",
        "(( $(alpha) )); beta",
        "f1() { alpha; }; f2() { f1; beta; }; f2",
        "alpha() { beta; }; alpha x",
        "env() { beta; }; env alpha",
        "command() { beta; }; command alpha",
        "{ alpha; } > $(beta)",
        "(alpha; beta) | { gamma; delta; }",
        "f1() if alpha; then beta; fi; f1",
        "f1() { alpha \"$@\"; }; f1 x 'y z'",
        "f1() { \"$@\"; }; f1 beta",
        "f1() { $1; }; f1 beta",
        // Redirections, assignments, expansions.
        "alpha >$(beta)",
        "alpha 2>out3 x",
        "alpha a2>out x",
        "alpha 2 >out x",
        "alpha >&2 <&- x",
        "alpha >& out x",
        "alpha &>out x",
        "alpha &>>out x",
        "alpha <<<x y",
        "alpha<<<$(beta) y",
        ">out alpha",
        ">out",
        "v=$(alpha) w=`beta` gamma",
        "v+=1 alpha",
        "1v=x",
        "v-w=1 x",
        "v=(alpha beta); gamma",
        "v[0]=x alpha",
        "v=alpha; $v",
        "v='alpha x'; $v",
        "alpha {a,$(beta)}",
        "alpha ~$(beta)",
        "alpha x{a,b}y{1..2}",
        "alpha \"$@\" $* x",
        "set -- a 'b c'; alpha \"$@\"",
        "alpha '' \"\" $nothing",
        "IFS=x; v=axb; alpha $v",
        "alpha $v$(beta)\"$(gamma)\"",
        "alpha ${v:-$(beta)}",
        "alpha ${v#\"}\"; beta \"}",
        "alpha ${v:-'}'} ; beta",
        "alpha \"${v:-\"`beta`\"}\"",
        "alpha ${v:-a b} c",
        "alpha ${#v} ${v%%x*}",
        "alpha $'a\\'; beta '",
        "alpha $\"x\"; beta",
        "export v=$(alpha); beta",
        "declare v=`alpha`",
        "export v=$w; beta",
        "local v=$(alpha)",
        "readonly v='a b'; beta \"$v\"",
        "alpha !beta ! x",
        "alpha a=(b); beta",
        "alpha =b",
        "'al'pha; \\beta; \"gamma\" x",
        "alpha\tx\ty",
        "alpha;beta;gamma",
        "alpha\n\n\nbeta",
        "  alpha  ",
        "\nalpha",
        "alpha;",
        "alpha &",
        "( alpha )",
        "$(alpha)",
        "`alpha`",
        "\"$(alpha)\" x",
        // Wrappers.
        "env alpha",
        "env -S 'alpha x'",
        "env v=1 alpha \"$v\"",
        "env -u v -- alpha",
        "env -- v=1 alpha",
        "nice alpha x",
        "nice -5 alpha",
        "timeout 5 alpha",
        "timeout -s INT 5 alpha",
        "echo beta | xargs alpha",
        "echo beta | xargs",
        "echo beta | xargs -I{} alpha {} x{}y",
        "echo a b | xargs -n1 alpha",
        "echo beta | xargs -i alpha {}",
        "echo beta | xargs env",
        "echo beta | xargs sh -c 'alpha \"$@\"' _",
        "sh -c 'alpha; beta'",
        "sh -ec 'alpha'",
        "sh -c 'alpha \"$0\" \"$1\"' x y",
        "sh -c \"alpha '$v'\"",
        "sh -c '\"$0\"' alpha",
        "sh -c '$0 x' beta",
        "sh <<EOF\nalpha\nEOF",
        "echo alpha | sh",
        "sh -c 'sh -c \"alpha x\"'",
        "env sh -c 'env alpha'",
        "find . -maxdepth 0 -exec alpha {} \\;",
        "find . -maxdepth 0 -exec alpha {} +",
        "find . -maxdepth 0 -exec sh -c 'beta' \\;",
        "find . -maxdepth 0 -exec alpha \\; -exec beta {} ';'",
        "nohup alpha",
        "setsid -w alpha",
        "stdbuf -oL alpha x",
        "command alpha",
        "command -p alpha",
        "command -v alpha",
        "builtin echo x; alpha",
        "exec alpha x",
        "exec -a name alpha x",
        "(exec alpha)",
        "eval alpha",
        "eval 'alpha; beta'",
        "trap 'alpha' EXIT",
        "sh -c alpha",
        "sh -c 'exec nice alpha'",
        "env -i sh -c alpha",
        "nice -n 1 timeout 5 env sh -c 'alpha && beta'",
        "hash -p /bin/true alpha; alpha",
    ]
    .map(str::to_owned);
    let (understood, ran) = compare(&texts);
    println!("{understood} of {} texts understood, {ran} programs ran", texts.len());
    assert!(understood * 2 > texts.len() && ran > understood, "{understood} of {} texts understood, {ran} programs ran", texts.len());
}
