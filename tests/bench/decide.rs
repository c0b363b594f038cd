//! `cargo bench --bench decide`: how long a decision takes on a shell command of 200 characters under 500 rules. It prints; it asserts nothing but
//! that the decision is the right one.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::{hint::black_box, time::Instant};

use portcullis::{
    approval::{Binaries, Judgement, Rules, shell::Dialect},
    policy::load::check_text,
};

const RULES: usize = 500;
const RUNS: u32 = 2_000;
const PLAIN: &str = "cd src && git -C x status --short | grep -v '^??' > /tmp/out.txt; for f in a b c; do echo \"$f: $(wc -l < \"$f\")\"; done; \
                     if [ -e Makefile ]; then make -j4 all 2>&1 | tail -n 20; else echo none; fi; ls -la";
const OPAQUE: &str = "eval \"$(ssh-agent -s)\"; x=$((y + 1)); for f in *.c; do gcc -c \"$f\" -o \"${f%.c}.o\" || exit 1; done; ar rcs lib.a *.o && ranlib \
                      lib.a; trap 'rm -f *.o' EXIT; ls -la; make install DESTDIR=out";

fn main() {
    let mut text = String::from("schema = 1\nname = \"bench\"\n");
    for number in 0..RULES {
        let program = ["git", "make", "npm", "cargo", "tool"][number % 5];
        let decision = ["allow", "ask", "forbid"][number % 3];
        text.push_str(&format!("[[command]]\nprefix = [\"{program}\", \"sub{number}\"]\ndecision = \"{decision}\"\n"));
    }
    let policy = check_text("bench.toml", &text).unwrap().complete();
    let rules = Rules::new(&policy, Binaries::unknown(), Dialect::Bash);
    for (name, command) in [("understood", PLAIN), ("opaque", OPAQUE), ("one word", "ls")] {
        assert_eq!(rules.judge(command).judgement, Judgement::Allow { rule: None });
        assert_eq!(rules.judge(command).opaque.is_some(), name == "opaque");
        let mut times: Vec<u128> = (0..RUNS)
            .map(|_| {
                let began = Instant::now();
                black_box(rules.judge(black_box(command)));
                began.elapsed().as_nanos()
            })
            .collect();
        times.sort_unstable();
        let micros = |nanos: u128| f64::from(u32::try_from(nanos).unwrap_or(u32::MAX)) / 1000.0;
        let (median, slow) = (micros(times[times.len() / 2]), micros(times[times.len() * 99 / 100]));
        println!("{name} ({} characters, {RULES} rules): median {median:.0} µs, 99 of 100 below {slow:.0} µs", command.chars().count());
    }
}
