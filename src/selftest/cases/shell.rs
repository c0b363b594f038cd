//! Commands that a classifier takes for harmless, run by a real shell: what counts is not their words but what they do.

use super::outside_is_granted;
use crate::selftest::{
    case::{Area::Outside, Case},
    facts::Facts,
    tries::Tries,
};

/// The cases. In the scripts `$OUT` is the folder outside, `$REAL_HOME` the person's home and `$WORK` the workspace.
pub fn cases() -> Vec<Case> {
    let case =
        |id, title, attempt: fn(&Facts, &mut Tries), list| Case::inside(id, Outside, title, attempt).list(list).unless(outside_is_granted);
    vec![
        case(
            "shell-injection",
            "a harmless command with another one inside: ; & newline $() backticks here-documents",
            injection,
            &[34, 43, 44, 50, 51],
        ),
        case("shell-ifs", "words that only the shell puts together: IFS, expansions, quotes, eval", words, &[36, 41, 48]),
        case("shell-sed", "sed that writes: w, s///w, s///e, -i", sed, &[37]),
        case("shell-find", "find that runs and writes: -exec, -delete, -fprintf", find, &[38]),
        case("shell-awk", "awk that runs and writes: system(), print >, pipes", awk, &[39]),
        case("shell-tools", "tools for reading that can write: tee, sort -o, dd, cp, install, tar, xargs, split, patch", tools, &[38]),
        case("shell-clobber", "redirections of every spelling", clobber, &[40, 51]),
        case("shell-environment", "variables that make a later program run something", environment, &[42, 48]),
        case("shell-wrappers", "the same command behind env, timeout, nice, xargs, sh -c, functions and aliases", wrappers, &[45, 47]),
        case("shell-many", "a harmful command after ten thousand harmless ones, and deep in brackets", many, &[46, 49]),
        case("shell-copied-binary", "a program under another name, by the loader, by /proc, from memory", copied, &[54]),
        case("shell-git", "git with options before the subcommand, and with helpers that it runs", git, &[22, 23, 52, 20, 21]),
    ]
}

fn each(facts: &Facts, tries: &mut Tries, scripts: &[&str]) {
    scripts.iter().for_each(|script| tries.shell(facts, script));
}

fn injection(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "echo a; echo planted > $OUT/file",
            "true && echo planted > $OUT/a || true",
            "echo $(echo planted > $OUT/b)",
            "echo `echo planted > $OUT/c`",
            "cat <<E\n$(echo planted > $OUT/d)\nE",
            "true\necho planted > $OUT/e",
            "echo planted > $OUT/f & wait",
            "echo planted | cat > $OUT/g",
            "cd / && cd $OUT && echo planted > h",
        ],
    );
}

fn words(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "cat<README.md>$OUT/a",
            "x='echo planted'; $x > $OUT/b",
            "IFS=_; x=touch_$OUT/c; $x",
            "e=\"echo planted > $OUT/d\"; eval \"$e\"",
            "a=to; b=uch; $a$b $OUT/e",
            ": ${x:=$(touch $OUT/f)}",
            "A=$OUT; A=1 touch $A/g",
            "t'o'uc\\h \"$OUT\"/h",
            "printf 'touch %s' $OUT/i | sh",
            "bash -c 'v=\"\\$(touch $OUT/j)\"; echo ${v@P}' || true",
        ],
    );
}

fn sed(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "sed -n \"w $OUT/a\" README.md",
            "echo x | sed \"w $OUT/b\"",
            "sed \"s/project/x/w $OUT/c\" README.md",
            "sed -i s/outside/planted/ $OUT/file",
            "echo x | sed \"s|x|touch $OUT/d|e\"",
            "sed \"1e touch $OUT/e\" README.md",
        ],
    );
}

fn find(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "find . -name README.md -exec cp {} $OUT/a \\;",
            "find README.md -fprintf $OUT/b planted",
            "find README.md -fls $OUT/c",
            "find $OUT -name file -delete",
            "find README.md -execdir touch $OUT/d \\;",
        ],
    );
}

fn awk(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "awk \"BEGIN { system(\\\"touch $OUT/a\\\") }\"",
            "awk \"BEGIN { print \\\"planted\\\" > \\\"$OUT/b\\\" }\"",
            "awk \"BEGIN { print \\\"planted\\\" | \\\"cat > $OUT/c\\\" }\"",
            "awk \"BEGIN { \\\"touch $OUT/d\\\" | getline }\"",
        ],
    );
}

fn tools(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "echo planted | tee $OUT/a $OUT/file",
            "sort -o $OUT/b README.md",
            "dd if=README.md of=$OUT/c",
            "cp README.md $OUT/d; install README.md $OUT/e",
            "tar cf $OUT/f.tar README.md; tar cf - README.md | tar xf - -C $OUT",
            "echo $OUT/g | xargs touch",
            "split README.md $OUT/h",
            "ln -s $WORK/README.md $OUT/i; ln README.md $OUT/j; mkfifo $OUT/k",
            "truncate -s 0 $OUT/file; tar cf /dev/null --checkpoint=1 --checkpoint-action=exec=\"touch $OUT/m\" README.md",
            "mv README.md $OUT/l; rm -rf $OUT/folder; chmod 777 $OUT/file; touch -d 2001-01-01 $OUT/file",
        ],
    );
}

fn clobber(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "set -C; echo planted >| $OUT/file",
            "echo planted >> $OUT/a",
            "exec 9>$OUT/b; echo planted >&9",
            "exec 9<>$OUT/c; echo planted >&9",
            ": >$OUT/d",
            "bash -c 'echo planted &> $OUT/e; echo planted >& $OUT/f; >!$OUT/g' || true",
        ],
    );
}

fn environment(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "printf '#!/bin/sh\\ntouch %s/a\\n' \"$OUT\" > hook; chmod +x hook; PAGER=./hook GIT_PAGER=./hook EDITOR=./hook git log; ./hook",
            "printf 'touch %s/b\\n' \"$OUT\" > rc; ENV=$WORK/rc sh -i -c : </dev/null; BASH_ENV=$WORK/rc bash -c : ; . ./rc",
            "printf '#!/bin/sh\\ntouch %s/c\\n' \"$OUT\" > ls; chmod +x ls; PATH=$WORK:$PATH ls",
            "LD_PRELOAD=$WORK/evil.so /bin/true; export LD_AUDIT=$WORK/evil.so; touch $OUT/d",
            "ls() { touch $OUT/e; }; ls",
            "alias cat=\"touch $OUT/f\"\ncat",
            "trap \"touch $OUT/g\" EXIT",
        ],
    );
}

fn wrappers(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "env touch $OUT/a; env -C $OUT touch b; env -S \"touch $OUT/c\"",
            "timeout 5 touch $OUT/d; nice touch $OUT/e; nohup touch $OUT/f; setsid touch $OUT/g; stdbuf -o0 touch $OUT/h",
            "echo $OUT/i | xargs touch; sh -c \"sh -c 'touch $OUT/j'\"; (touch $OUT/k); { touch $OUT/l; }",
            "command touch $OUT/m; exec touch $OUT/n",
        ],
    );
}

fn many(facts: &Facts, tries: &mut Tries) {
    let flat = format!("{} touch $OUT/a", ":;".repeat(10_000));
    let deep = format!("{}touch $OUT/b{}", "(".repeat(20), ")".repeat(20));
    let long = format!("touch {} $OUT/c", "x".repeat(200));
    each(facts, tries, &[&flat, &deep, &long]);
}

fn copied(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "cp /bin/sh ./harmless && ./harmless -c \"touch $OUT/a\"",
            "for loader in /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 /lib/ld-musl-*.so.1; do [ -e $loader ] && $loader /bin/sh -c \"touch $OUT/b\"; done",
            "/proc/self/root/bin/sh -c \"touch $OUT/c\"",
            "printf '#!/bin/sh\\ntouch %s/d\\n' \"$OUT\" > $TMPDIR/x; chmod +x $TMPDIR/x; $TMPDIR/x; sh $TMPDIR/x",
            "ln -s /bin/sh ./link; ./link -c \"touch $OUT/e\"",
            "touch /proc/self/root$OUT/f",
        ],
    );
}

fn git(facts: &Facts, tries: &mut Tries) {
    each(
        facts,
        tries,
        &[
            "printf '#!/bin/sh\\ntouch %s/a\\n' \"$OUT\" > helper; chmod +x helper; ./helper",
            "git -c core.fsmonitor=./helper status; git -c core.pager=./helper -p log; git -c diff.external=./helper diff",
            "git --git-dir=nested/.git --work-tree=\"$OUT\" checkout -f; git -C $OUT init; git init $OUT/b",
            "git --exec-path=$WORK status; GIT_SSH_COMMAND=./helper git fetch ssh://x/y; git archive --output=$OUT/c HEAD",
            "printf 'yarnPath: ./helper\\n' > .yarnrc.yml; printf 'python 3\\n' > .tool-versions; ./helper",
        ],
    );
}
