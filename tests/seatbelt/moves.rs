//! What no profile sees is what lies in a folder that is moved. So nothing that a policy keeps may be had by moving: neither the folders around a
//! protected or denied place, nor one that was made ready elsewhere under another name.

use crate::world::{Asked, PRIVATE, WORKSPACE, plan};

fn at(path: &str) -> String {
    format!("{WORKSPACE}/{path}")
}

fn in_tmp(path: &str) -> String {
    format!("{PRIVATE}/tmp/{path}")
}

#[test]
fn a_repository_cannot_be_moved_away_and_rebuilt_nor_made_elsewhere_and_moved_in() {
    let asked = Asked::plan(&plan("workspace-write", ""));
    assert!(
        asked.makes(&at(".git/objects/ab/cd"))
            && asked.makes(&at(".git/index.lock"))
            && asked.moves(&at(".git/index.lock"), &at(".git/index"))
    );
    for name in [".git", ".git/config", ".git/hooks", ".git/hooks/pre-commit", ".git/info", ".git/commondir", ".git/modules/x/config"] {
        assert!(!asked.moves(&at(name), &at("away")) && !asked.moves(&at("ready"), &at(name)), "{name}");
    }
    assert!(!asked.removes(WORKSPACE), "the workspace itself stays");
    for name in ["x/.git", "x/y/.git", "x/.GIT", "x/.git/config", "x/.git/hooks/post-checkout"] {
        assert!(!asked.makes(&at(name)) && !asked.makes(&in_tmp(name)), "{name}");
        assert!(!asked.moves(&in_tmp("ready"), &at(name)), "{name}");
    }
    assert!(asked.moves(&in_tmp("a"), &at("a")) && asked.moves(&at("a"), &in_tmp("a")), "ordinary folders are moved both ways");
}

#[test]
fn a_secret_stays_one_wherever_the_folder_around_it_goes() {
    let asked = Asked::plan(&plan("workspace-write", "[filesystem]\ndeny = [\"@secret-files\", \"**/vault/key\", \"keys\"]"));
    for base in [WORKSPACE.to_owned(), format!("{PRIVATE}/tmp"), format!("{PRIVATE}/home")] {
        for name in [".env", "app/.env", "app/.ENV", "a/b/id_rsa", "node_modules/x/.env", "x/vault/key"] {
            assert!(!asked.reads(&format!("{base}/{name}")), "{base}/{name}");
        }
        assert!(!asked.moves(&format!("{base}/x/vault"), &format!("{base}/x/other")), "{base}");
        assert!(asked.reads(&format!("{base}/app/.env.example")), "{base}");
    }
    assert!(!asked.moves(&at("app/.env"), &at("app/plain")) && !asked.moves(&at("keys"), &at("plain")) && !asked.reads(&at("keys/a")));
}

#[test]
fn a_protected_name_is_had_neither_in_another_case_nor_by_way_of_its_folder() {
    let rules = "[filesystem]\nprotect = [\"@agent-config\", \"@git-exec\", \"@editor-exec\", \"tools/run/me.sh\"]";
    let asked = Asked::plan(&plan("workspace-write", rules));
    for name in [
        ".claude",
        ".Claude",
        ".CLAUDE/settings.json",
        "sub/.mcp.json",
        "sub/.MCP.json",
        ".envrc",
        "a.code-workspace",
        "sub/.vim/coc-settings.json",
    ] {
        assert!(!asked.makes(&at(name)) && !asked.writes(&at(name)) && !asked.moves(&at("x"), &at(name)), "{name}");
        assert!(!asked.makes(&in_tmp(name)) || !name.contains("sub") && !name.starts_with('.'), "{name}");
    }
    for folder in ["tools", "tools/run", "Tools/Run", "sub/.vim", "sub/.hg", ".config"] {
        assert!(!asked.moves(&at("ready"), &at(folder)) && !asked.moves(&at(folder), &at("away")), "{folder}");
    }
    assert!(asked.makes(&at("tools/other.sh")) && asked.makes(&at("tools/run/other.sh")) && asked.writes(&at("tools/run/other.sh")));
    assert!(!asked.makes(&at("tools/run/me.sh")) && !asked.writes(&at("tools/run/ME.sh")) && asked.reads(&at("tools/run/me.sh")));
}

#[test]
fn where_nothing_of_the_persons_can_be_written_the_private_folders_are_free() {
    let asked = Asked::plan(&plan("read-only", ""));
    assert!(asked.makes(&in_tmp("x/.git/config")) && asked.makes(&in_tmp(".envrc")) && asked.reads(&in_tmp("x/.env")));
    assert!(!asked.writes(&at("file")) && !asked.moves(&at("app"), &in_tmp("app")) && !asked.reads(&at("app/.env")));
}
