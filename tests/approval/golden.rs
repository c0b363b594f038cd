//! Texts and the simple commands in them.

use portcullis::approval::shell::{Dialect, RedirectKind, Script, Shape, Simple, Word, read};

fn word(word: &Word) -> String {
    match word.shape {
        Shape::Literal => format!("[{}]", word.text),
        Shape::One => format!("<{}>", word.text),
        Shape::Any => format!("*{}*", word.text),
    }
}

fn simple(simple: &Simple) -> String {
    let assignments = simple.assignments.iter().map(|found| format!("{}={}", found.name, word(&found.value)));
    let redirects = simple.redirects.iter().map(|found| {
        let kind = match found.kind {
            RedirectKind::Read => "<",
            RedirectKind::Write => ">",
            RedirectKind::Duplicate => "&",
            RedirectKind::HereDocument => "<<",
            RedirectKind::HereString => "<<<",
        };
        format!("{kind}{}", word(&found.target))
    });
    assignments.chain(simple.words.iter().map(word)).chain(redirects).collect::<Vec<_>>().join(" ")
}

/// What was read, in one line: commands with `;` between them, behind them what is opaque.
pub fn shown(script: &Script) -> String {
    let commands: Vec<String> = script.commands.iter().map(simple).collect();
    let opaque = script.opaque.as_ref().map(|opaque| format!(" OPAQUE {}", opaque.what)).unwrap_or_default();
    format!("{}{opaque}", commands.join("; "))
}

#[test]
fn texts_are_read_into_the_commands_that_they_hold() {
    for (text, expected) in [
        ("git push origin main", "[git] [push] [origin] [main]"),
        (
            "A=1 git -C x push \"a $b c\" 2>&1 > out arg | tee f && ! ls",
            "A=[1] [git] [-C] [x] [push] <a $b c> [arg] &[1] >[out]; [tee] [f]; [ls]",
        ),
        ("x=$(ls) &", "x=<$(ls)>; [ls]"),
        ("g\"\"it p'us'h; \\git push; \"git\" push", "[git] [push]; [git] [push]; [git] [push]"),
        ("echo \"a\nb\" 'c\nd' && ls \\\n  -la", "[echo] [a\nb] [c\nd]; [ls] [-la]"),
        ("a && b || c; d & e\nf", "[a]; [b]; [c]; [d]; [e]; [f]"),
        ("a | b |& c; (a; b) | (c)", "[a]; [b]; [c]; [a]; [b]; [c]"),
        ("echo a;# comment\nls # x\n# y", "[echo] [a]; [ls]"),
        ("echo a#b \\#c '#d'", "[echo] [a#b] [#c] [#d]"),
        ("ls a* b? [c]d {e,f} {} a{b} \"a*\" {1..3}", "[ls] *a** *b?* *[c]d* *{e,f}* [{}] [a{b}] [a*] *{1..3}*"),
        ("echo ~ ~root a=~/x", "[echo] <~> <~root> [a=~/x]"),
        ("grep foo$ \"bar$\" $ x", "[grep] [foo$] [bar$] [$] [x]"),
        ("echo \"${a[@]}\" \"${#a[@]}\" ${x%.rs} \"${x//a/b}\"", "[echo] *${a[@]}* *${#a[@]}* *${x%.rs}* <${x//a/b}>"),
        ("echo `ls` $((1+2)) \"$@\" \"$*\" $?", "[echo] *`ls`* *$((1+2))* *$@* <$*> *$?*; [ls]"),
        ("diff <(sort a) <(sort b)", "[diff] <<(sort a)> <<(sort b)>; [sort] [a]; [sort] [b]"),
        ("for i in a $(b); do echo $i; done", "i=<>; [b]; [echo] *$i*"),
        ("while read x; do :; done < f", "[read] [x]; [:]; <[f]"),
        ("if [ -f x ]; then a; elif [[ $a == b* ]]; then b; else c; fi", "[[] [-f] [x] []]; [a]; [b]; [c]"),
        ("case $x in a|'b c') ls;; *) pwd;; esac", "[ls]; [pwd]"),
        ("f() { ls; } > o; function g { pwd; }; f; g", "[ls]; >[o]; [pwd]; [f]; [g]"),
        ("{ a; b; } >o 2>&1; ( c )", "[a]; [b]; >[o] &[1]; [c]"),
        ("export A=b C; unset x; declare -r y=$z", "[export] [A=b] [C]; [unset] [x]; [declare] [-r] <y=$z>"),
        ("cat <<EOF > f\nhi $(ls) $x\nEOF\necho b", "[cat] <<[EOF] >[f]; [ls]; [echo] [b]"),
        ("cat <<'EOF' | grep x && b arg\nhi $(no)\nEOF\nd", "[cat] <<[EOF]; [grep] [x]; [b] [arg]; [d]"),
        ("while read x; do ls; done <<'E F'\n$(ls)\nE F", "[read] [x]; [ls]; <<[E F]"),
        (
            "git commit -m \"$(cat <<'EOF'\nSubject (x)\n\n`y`\nEOF\n)\"",
            "[git] [commit] [-m] <$(cat <<'EOF'\nSubject (x)\n\n`y`\nEOF\n)>; [cat] <<[EOF]",
        ),
        ("cat <<< \"x $(ls)\" y", "[cat] [y] <<<<x $(ls)>; [ls]"),
        ("ls &> f; ls >| f; ls 3<&1; ls 2>&-; ls >& f; ls >>f", "[ls] >[f]; [ls] >[f]; [ls] &[1]; [ls] &[-]; [ls] >[f]; [ls] >[f]"),
        ("> f; > f ls", ">[f]; [ls] >[f]"),
        ("echo $(ls # a)\ngit push\n)", "[echo] *$(ls # a)\ngit push\n)*; [ls]; [git] [push]"),
        ("echo if then; echo }", "[echo] [if] [then]; [echo] [}]"),
        ("time -p ls", "[time] [-p] [ls]"),
        ("", ""),
        (" \n# only a comment\n", ""),
    ] {
        assert_eq!(shown(&read(text, Dialect::Bash, 0, 0)), expected, "{text}");
    }
}

#[test]
fn what_is_not_plain_is_named() {
    for (text, what) in [
        ("time { ls; }", "`time` where a command begins"),
        ("echo $'a'", "`$'`, whose escapes are read differently"),
        ("echo ${x:=y}", "an expansion that does more than read a variable"),
        ("(( i++ ))", "arithmetic"),
        ("echo $((i))", "arithmetic with variables or commands"),
        ("a=(1 2)", "an array"),
        ("a[0]=1", "an element of an array"),
        ("[[ $x -gt 3 ]]", "a condition that evaluates arithmetic"),
        ("if true; then echo a", "what does not parse"),
        ("cat <<EOF\nnever ends", "what does not parse"),
        ("cat <<A <<B\nx\nA\ny\nB", "what does not parse"),
        ("echo \"$\\\n(rm y)\"", "a token that goes on in the next line"),
        ("cat <<EOF\nx \\\nEOF\nls\nEOF", "a here-document whose end is not plain"),
        ("ls\r\n", "the invisible character U+000D"),
        ("ls \u{202e}x", "the invisible character U+202E"),
        ("ls\u{a0}x", "the invisible character U+00A0"),
        ("ls \0", "the invisible character U+0000"),
        ("echo !(x)", "what does not parse"),
        ("exec {fd}> f", "a descriptor that is put into a variable"),
    ] {
        let opaque = read(text, Dialect::Bash, 0, 0).opaque.unwrap_or_else(|| panic!("{text} is taken for plain"));
        assert_eq!(opaque.what, what, "{text}");
    }
}
