//! Node and npm, offline.

use crate::{
    job::{finished, job, lacks},
    support::{Ended, Host},
};

#[test]
fn a_program_starts_others_talks_to_them_and_watches_files() {
    let host = Host::without_git();
    if lacks("honest::node::a_program_starts_others_talks_to_them_and_watches_files", &["node"]) {
        return;
    }
    host.write("work.js", include_str!("jobs/work.js"));
    let printed = finished(host.sandbox(&["node", "work.js"]));
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["by cluster", "by execSync", "by fork", "by promise", "by spawn", "by unix socket", "by worker", "hashed", "watched"]
    );
}

#[test]
fn a_package_is_started_and_one_of_the_workspace_installed() {
    let host = Host::without_git();
    if lacks("honest::node::a_package_is_started_and_one_of_the_workspace_installed", &["npm", "node"]) {
        return;
    }
    host.write(
        "library/package.json",
        r#"{ "name": "library", "version": "1.0.0", "bin": "tool.js", "scripts": { "postinstall": "echo installed > ran" } }"#,
    );
    host.write("library/index.js", "module.exports = 7;\n");
    host.write("library/tool.js", "#!/usr/bin/env node\nconsole.log('tool');\n");
    let script = "npm pack --silent ./library --pack-destination .; mkdir app; cd app; npm init -y > /dev/null; npm install --silent --offline ../library-1.0.0.tgz; \
                  npm pkg set scripts.test='node -e \"process.exit(require(\\\"library\\\") - 7)\"' scripts.tool=library; npm test --silent; npm run --silent tool; \
                  npx --no-install library; npm ci --silent --offline; npm install --silent ../library; node -p 'require(\"library\")'";
    let printed = job(&host, script);
    assert_eq!(printed.matches("\ntool").count(), 2, "{printed}");
    assert!(printed.ends_with("7\n"), "{printed}");
    assert!(host.read("app/package-lock.json").unwrap().contains("library-1.0.0.tgz") || host.has("app/node_modules/library"));
    assert!(host.has("library/ran"));
}

#[test]
fn installed_packages_are_removed_and_reinstalled_whatever_their_files_are_called() {
    let host = Host::new();
    if lacks("honest::node::installed_packages_are_removed_and_reinstalled_whatever_their_files_are_called", &["npm"]) {
        return;
    }
    // Published packages do hold such files. The archive is made outside, where none of them is covered.
    for name in ["package.json", ".env", ".envrc", ".vimrc", "mise.toml", ".vscode/settings.json", "index.js"] {
        host.write(&format!("package/{name}"), if name == "package.json" { r#"{ "name": "library", "version": "1.0.0" }"# } else { "1" });
    }
    host.write(".gitignore", "node_modules\n");
    let mut pack = host.clean("tar");
    pack.arg("-C").arg(&host.workspace).args(["-czf"]).arg(host.workspace.join("library.tgz")).arg("package");
    Ended::from(pack.output().unwrap()).done();
    std::fs::remove_dir_all(host.workspace.join("package")).unwrap();
    job(&host, "npm init -y > /dev/null; npm install --silent --offline ./library.tgz");
    assert!(host.has("node_modules/library/mise.toml"));
    job(&host, "npm ci --silent --offline");
    job(&host, "mv node_modules elsewhere; mv elsewhere node_modules; git clean -fdxq node_modules; npm install --silent --offline");
    job(&host, "rm -rf node_modules");
    assert!(!host.has("node_modules"));
}
