//! The recording of the demo that the README shows is what the demo prints. `PORTCULLIS_RECORD=1` writes it anew.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;

use super::support::{binary, finish};

/// What differs from run to run, and what is put in its place.
const VARIES: [(&str, &str); 10] = [
    (r"(portcullis-demo)-\w+", "$1"),
    (r"(127\.0\.0\.1[:/]|port )\d+", "${1}8080"),
    (r"\d+ ms", "9 ms"),
    // Of git and of curl, each version has its own.
    (r"\d+ more were left out", "24 more were left out"),
    (r"curl: \(7\) .*", "curl: (7) Failed to connect to 127.0.0.1 port 8080"),
    (r"\d+ requests, \d+ tokens in \(\d+ cached\), \d+ out", "9 requests, 34027 tokens in (28928 cached), 1125 out"),
    (r"\d+ in, \d+ of them cached, \d+ out, in \d+ requests", "34027 in, 28928 of them cached, 1125 out, in 9 requests"),
    (r"/\S*/(portcullis-demo)", "/tmp/$1"),
    (r"^Log +.*", "Log     ~/.local/state/portcullis/log/01a228c1.jsonl"),
    (r"\([0-9a-f]{12}\)", "(0aae613612c8)"),
];
/// As many columns as the recording has, and rows that are seen at a time.
const COLUMNS: usize = 112;
const ROWS: usize = 30;
/// The distance of two rows, in units of the drawing.
const ROW: usize = 18;
/// What begins a row that goes on with the one before.
const MORE: &str = "    ";

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readme/demo.svg")
}

/// What the demo prints, without what is another in each run.
fn printed() -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.arg("demo").env_clear().envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")]).env("HOME", home.path());
    let ended = finish(&mut command);
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    let patterns: Vec<_> = VARIES.iter().map(|(pattern, put)| (Regex::new(pattern).unwrap(), put)).collect();
    let constant =
        |line: &str| patterns.iter().fold(line.to_owned(), |line, (pattern, put)| pattern.replace_all(&line, **put).into_owned());
    ended.stdout.lines().map(constant).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Breaks a line into rows of the recording, between words where it can.
fn rows(line: &str) -> Vec<String> {
    let (mut rows, mut left) = (Vec::new(), line.to_owned());
    while left.chars().count() > COLUMNS {
        let end = left.char_indices().nth(COLUMNS).map_or(left.len(), |(at, _)| at);
        let at = left[..end].rfind(' ').filter(|at| *at > end / 2).unwrap_or(end);
        let rest = left.split_off(at);
        rows.push(std::mem::replace(&mut left, format!("{MORE}{}", rest.trim_start())));
    }
    rows.push(left);
    rows
}

/// By what it begins with.
fn class(line: &str) -> &'static str {
    let line = line.trim_start();
    match line.chars().next() {
        Some('▸') => "call",
        Some('✗') => "refused",
        Some('✓') => "certain",
        Some('│') => "output",
        _ => "said",
    }
}

/// The lines as a terminal that scrolls, and stands still at the end of each part.
fn drawn(lines: &[String]) -> String {
    let mut text = String::new();
    let (mut row, mut stops) = (0, Vec::new());
    for line in lines {
        for part in rows(line) {
            row += 1;
            let y = row * ROW;
            writeln!(text, "<text y=\"{y}\" class=\"{}\">{}</text>", class(line), escaped(&part)).unwrap();
        }
        if line.is_empty() && row > ROWS {
            stops.push((row - ROWS) * ROW);
        }
    }
    stops.push((row - ROWS) * ROW);
    let mut frames = String::new();
    let share = |stop: usize| 100.0 * stop as f64 / (stops.len() + 2) as f64;
    for (number, offset) in stops.iter().enumerate() {
        let (from, to) = (share(number + 1), share(number + 2) - 1.5);
        writeln!(frames, "{from:.2}%,{to:.2}%{{transform:translateY(-{offset}px)}}").unwrap();
    }
    let (width, height, seconds) = (COLUMNS * 8 + 32, ROWS * ROW + 24, 2 * (stops.len() + 2));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"What portcullis demo prints\">
<style>
text{{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d0d7de;white-space:pre}}
.call{{fill:#79c0ff;font-weight:bold}}.refused{{fill:#ff7b72}}.certain{{fill:#7ee787}}.output{{fill:#8b949e}}
#text{{animation:scroll {seconds}s linear infinite}}
@media(prefers-reduced-motion:reduce){{#text{{animation:none}}}}
@keyframes scroll{{
0%{{transform:none}}
{frames}100%{{transform:none}}
}}
</style>
<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>
<svg x=\"16\" y=\"10\" width=\"{}\" height=\"{}\"><g id=\"text\">
{text}</g></svg>
</svg>
",
        width - 32,
        ROWS * ROW + 4
    )
}

/// The rows without their places: calls that run side by side end in any order.
fn content(drawing: &str) -> Vec<&str> {
    let mut rows: Vec<&str> = drawing
        .lines()
        .filter(|line| line.starts_with("<text"))
        .filter_map(|line| line.split_once(" class="))
        .map(|(_, row)| row)
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn the_recording_is_what_the_demo_prints() {
    if !super::has("curl") {
        return super::skip("the_recording_is_what_the_demo_prints", "curl is not installed");
    }
    let drawn = drawn(&printed());
    if std::env::var_os("PORTCULLIS_RECORD").is_some() {
        fs::write(recording(), &drawn).unwrap();
    }
    let recorded = fs::read_to_string(recording()).unwrap();
    let (recorded, drawn) = (content(&recorded), content(&drawn));
    let differs = recorded.iter().zip(&drawn).find(|(recorded, drawn)| recorded != drawn);
    assert_eq!(recorded.len(), drawn.len(), "{differs:?}; PORTCULLIS_RECORD=1 writes it anew");
    assert_eq!(differs, None, "PORTCULLIS_RECORD=1 writes it anew");
    assert!(super::README.contains("](tests/readme/demo.svg)"), "the README does not show it");
}
