//! What is released beside the program: completions that shells load, manual pages that readers of them accept, a changelog, the scripts of the
//! Debian package, and what the program needs of the machine that it is put on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as tests do")]
#![allow(clippy::disallowed_methods, reason = "a test of the program starts the program, and the programs that read what it makes")]

#[allow(dead_code, reason = "shared with suites that need more of it")]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use support::{program, skip};
use tempfile::TempDir;

const CHANGES: &str = include_str!("../.packaging/CHANGELOG.md");
const SCRIPTS: [(&str, &str); 2] =
    [("postinst", include_str!("../.packaging/deb/postinst")), ("postrm", include_str!("../.packaging/deb/postrm"))];

/// Runs a program in a folder of its own, with nothing of the machine's environment but where programs are.
fn run(folder: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin").env("HOME", folder).env("LANG", "C.UTF-8").output().unwrap()
}

#[track_caller]
fn said(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && error.is_empty(), "{}: {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn has(name: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(name).exists())
}

/// A folder with the completions of a shell in a file.
fn completions(shell: &str, file: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = said(run(folder.path(), program(), &["completion", shell]));
    fs::write(folder.path().join(file), text).unwrap();
    folder
}

#[test]
fn bash_loads_its_completions_and_completes_commands_and_options() {
    let folder = completions("bash", "portcullis");
    let complete = |words: &str| {
        let script = format!(
            "set -eu; source ./portcullis; complete -p portcullis >&2; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _portcullis portcullis \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = run(folder.path(), "bash", &["--norc", "-c", &script]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("-F _portcullis"), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("portcullis pol"), "policy");
    assert_eq!(complete("portcullis policy di"), "diff");
    assert_eq!(complete("portcullis exec --output-s"), "--output-schema");
    assert_eq!(complete("portcullis exec --ask w"), "when-needed");
    assert_eq!(complete("portcullis nothing-of-the-kind"), "");
}

#[test]
fn zsh_takes_its_completions_for_those_of_portcullis() {
    if !has("zsh") {
        return skip("zsh_takes_its_completions_for_those_of_portcullis", "zsh is not installed");
    }
    let folder = completions("zsh", "_portcullis");
    let script = "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; autoload +X -U _portcullis && print -r -- $_comps[portcullis] $+functions[_portcullis]";
    assert_eq!(said(run(folder.path(), "zsh", &["-f", "-c", script])), "_portcullis 1\n");
}

#[test]
fn fish_completes_with_its_completions() {
    if !has("fish") {
        return skip("fish_completes_with_its_completions", "fish is not installed");
    }
    let folder = completions("fish", "portcullis.fish");
    let complete =
        |line: &str| said(run(folder.path(), "fish", &["--no-config", "-c", &format!("source portcullis.fish; complete -C '{line}'")]));
    assert!(complete("portcullis pol").starts_with("policy\t"), "{}", complete("portcullis pol"));
    assert!(complete("portcullis policy di").starts_with("diff\t"));
    assert_eq!(complete("portcullis nothing-of-the-ki"), "");
}

/// The names of a command and of all below it, read off `--help` as a person would.
fn commands(folder: &Path, name: &[&str], found: &mut BTreeSet<String>) {
    found.insert(format!("portcullis{}", name.iter().map(|part| format!("-{part}")).collect::<String>()));
    let help = said(run(folder, program(), &[name, &["--help"]].concat()));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with(' '));
    for below in listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty() && *word != "help")) {
        commands(folder, &[name, &[below]].concat(), found);
    }
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    said(run(folder, program(), &["man", "--dir", "pages/man1"]));
    let mut pages: Vec<PathBuf> = fs::read_dir(folder.join("pages/man1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

#[test]
fn there_is_a_manual_page_for_each_command_and_it_says_what_help_says() {
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(folder.path());
    let named: BTreeSet<String> = pages.iter().map(|page| page.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let mut all = BTreeSet::new();
    commands(folder.path(), &[], &mut all);
    assert!(all.contains("portcullis-policy-explain-host"), "{all:?}");
    assert_eq!(named, all);
    let one = said(run(folder.path(), program(), &["man", "policy", "diff"]));
    assert_eq!(one, fs::read_to_string(folder.path().join("pages/man1/portcullis-policy-diff.1")).unwrap());
    let unknown = run(folder.path(), program(), &["man", "policy", "dif"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert_eq!(pages.len(), fs::read_dir(folder.path().join("pages/man1")).unwrap().count());
    if !has("man") {
        return skip("what a reader of manual pages makes of them", "man is not installed");
    }
    let shown = |page: &str| said(run(folder.path(), "man", &["--warnings", "-E", "UTF-8", "-l", &format!("pages/man1/{page}.1")]));
    let text = shown("portcullis-exec");
    let help = said(run(folder.path(), program(), &["exec", "--help"]));
    let examples: Vec<&str> = help.lines().filter(|line| line.starts_with("  portcullis exec ")).map(str::trim).collect();
    assert!(examples.len() > 3, "{help}");
    // An example on one line can be copied; a hyphen in it is a hyphen.
    assert!(examples.iter().all(|example| text.lines().any(|line| line.trim() == *example)), "{text}");
    assert!(shown("portcullis").lines().any(|line| line.trim() == "EXIT STATUS"), "{}", shown("portcullis"));
    for page in &all {
        shown(page);
    }
}

#[test]
fn a_linter_of_manual_pages_finds_nothing_to_warn_of() {
    if !has("mandoc") {
        return skip("a_linter_of_manual_pages_finds_nothing_to_warn_of", "mandoc is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()) {
        let output = run(folder.path(), "mandoc", &["-Tlint", "-Wwarning", page.to_str().unwrap()]);
        let found = String::from_utf8(output.stdout).unwrap();
        // What clap_mangen puts around the values of an option changes nothing of what is shown.
        let left: Vec<&str> = found.lines().filter(|line| !line.contains("skipping paragraph macro: br")).collect();
        assert!(left.is_empty(), "{left:#?}");
    }
}

#[test]
fn the_newest_section_of_the_changelog_is_that_of_this_version_and_its_notes_are_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let tool = folder.path().join("changelog");
    fs::write(&tool, include_str!("../.packaging/changelog")).unwrap();
    fs::write(folder.path().join("CHANGELOG.md"), CHANGES).unwrap();
    let made = |what: &str| said(run(folder.path(), "python3", &["changelog", what]));
    assert_eq!(made("version").trim(), env!("CARGO_PKG_VERSION"));
    let section = CHANGES.split("\n## ").nth(1).unwrap();
    assert_eq!(made("notes").trim(), section.split_once('\n').unwrap().1.trim());
    assert_ne!(run(folder.path(), "python3", &["changelog", "notes", "9.9.9"]).status.code(), Some(0));
    let page = said(run(folder.path(), program(), &["man"]));
    let date = section.lines().next().unwrap().split_once('(').unwrap().1.trim_end_matches(')');
    assert!(page.contains(&format!(".TH portcullis 1 {date} ")), "{}", page.lines().take(4).collect::<String>());
    if !has("dpkg-parsechangelog") {
        return skip("what dpkg reads in the Debian changelog", "dpkg-dev is not installed");
    }
    fs::write(folder.path().join("debian"), made("debian")).unwrap();
    let read = said(run(folder.path(), "dpkg-parsechangelog", &["-l", "debian"]));
    assert!(read.contains(&format!("Version: {}-1\n", env!("CARGO_PKG_VERSION"))), "{read}");
}

/// A root folder for the scripts of the package, with an AppArmor that takes the profile or not. What is asked of it stands in `asked`.
fn system(takes: bool) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["etc/apparmor.d", "usr/share/portcullis", "bin"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    fs::write(root.path().join("usr/share/portcullis/apparmor"), include_str!("../.packaging/apparmor")).unwrap();
    let parser = format!(
        "#!/bin/sh\necho \"$1\" >>\"{0}/asked\"\ncase $1 in --skip-kernel-load) exit {1};; esac\n",
        root.path().display(),
        u8::from(!takes)
    );
    for (name, text) in [("apparmor_parser", parser.as_str()), ("aa-enabled", "#!/bin/sh\n")].into_iter().chain(SCRIPTS) {
        let path = root.path().join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

fn script(root: &Path, name: &str, action: &str) {
    let mut command = Command::new("sh");
    command.arg(root.join("bin").join(name)).arg(action).env_clear().env("DPKG_ROOT", root).stdin(Stdio::null());
    said(command.env("PATH", format!("{}:/usr/bin:/bin", root.join("bin").display())).output().unwrap());
}

#[test]
fn the_apparmor_profile_is_put_in_place_only_where_it_can_be_read_and_goes_with_the_package() {
    let root = system(true);
    let profile = root.path().join("etc/apparmor.d/portcullis");
    script(root.path(), "postinst", "configure");
    assert_eq!(fs::read_to_string(&profile).unwrap(), include_str!("../.packaging/apparmor"));
    script(root.path(), "postrm", "upgrade");
    assert!(profile.exists());
    script(root.path(), "postrm", "remove");
    assert!(!profile.exists());
    script(root.path(), "postrm", "purge");
    assert_eq!(fs::read_to_string(root.path().join("asked")).unwrap(), "--skip-kernel-load\n--replace\n--remove\n");

    let root = system(false);
    script(root.path(), "postinst", "configure");
    assert!(!root.path().join("etc/apparmor.d/portcullis").exists());
    assert_eq!(fs::read_to_string(root.path().join("asked")).unwrap(), "--skip-kernel-load\n");
    script(root.path(), "postrm", "remove");
}

#[test]
fn the_apparmor_profile_is_well_formed() {
    if !has("apparmor_parser") {
        return skip("the_apparmor_profile_is_well_formed", "apparmor is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        fs::write(folder.path().join("profile"), text).unwrap();
        run(folder.path(), "apparmor_parser", &["--skip-kernel-load", "--skip-cache", "--names", "profile"])
    };
    let whole = include_str!("../.packaging/apparmor");
    let mut output = check(whole);
    if !Path::new("/etc/apparmor.d/abi/4.0").exists() {
        // A parser from before version 4 knows all of it but these two words.
        assert!(!output.status.success(), "{output:?}");
        output = check(&whole.replace("<abi/4.0>", "<abi/3.0>").replace("  userns,\n", ""));
    }
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "portcullis\n");
    assert!(!check(&whole.replace('{', "")).status.success(), "a broken profile is told from a good one");
}

#[test]
fn the_program_needs_the_c_library_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let read = said(run(folder.path(), "readelf", &["--wide", "--dynamic", program().to_str().unwrap()]));
    let needed: BTreeSet<&str> =
        read.lines().filter(|line| line.contains("(NEEDED)")).filter_map(|line| line.split_once('[')?.1.strip_suffix(']')).collect();
    let of_libc = |name: &&str| ["libc.so.6", "libm.so.6", "libgcc_s.so.1"].contains(name) || name.starts_with("ld-linux-");
    assert!(needed.contains("libc.so.6") && needed.iter().all(of_libc), "{needed:?}");
}
