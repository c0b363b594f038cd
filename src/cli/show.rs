//! A compiled policy on one page: every list with its groups expanded, and each entry with the line that it comes from.

use crate::{
    policy::{self, NetworkMode, PathRule, Policy, canonical, units},
    ui::{
        sanitize::visible,
        style::{Paint, Tone},
        table::{Cell, Table},
    },
};

/// The page, in lines of `width` columns where they can be folded. It ends with the very text that the model is told.
pub(super) fn text(policy: &Policy, width: usize, paint: Paint) -> String {
    let mut page = Page { out: String::new(), width, paint };
    page.table("Policy", &head(policy));
    page.layers("Readable", "read", &policy.filesystem.read);
    page.layers("Writable, and readable too", "write", &policy.filesystem.write);
    page.paths("Denied: neither readable nor writable", &policy.filesystem.deny);
    page.paths("Protected: never writable", &policy.filesystem.protect);
    page.table("Git and network", &reach(policy));
    page.table("Environment", &environment(policy));
    page.table("Limits of one call", &limits(policy));
    page.table("Approval and enforcement", &enforcement(policy));
    page.table("Commands", &commands(policy));
    let mut notes = Table::new(2);
    policy.notes.iter().for_each(|note| notes.row([note.as_str().into()]));
    if !notes.is_empty() {
        page.table("Notes", &notes);
    }
    page.heading("Told to the model");
    page.out + &visible(&policy::render(policy))
}

struct Page {
    out: String,
    width: usize,
    paint: Paint,
}

impl Page {
    fn heading(&mut self, title: &str) {
        self.out.push_str(&self.paint.text(Tone::Strong, title));
        self.out.push('\n');
    }

    fn table(&mut self, title: &str, table: &Table) {
        self.heading(title);
        self.out.push_str(&if table.is_empty() { "  none\n".to_owned() } else { table.render(self.width, self.paint) });
        self.out.push('\n');
    }

    fn paths(&mut self, title: &str, rules: &[PathRule]) {
        let mut rules: Vec<&PathRule> = rules.iter().collect();
        rules.sort();
        rules.dedup();
        let mut table = Table::new(2);
        for rule in rules {
            table.row([rule.place.to_string().into(), Cell::new(Tone::Faint, &rule.origin.to_string())]);
        }
        self.table(title, &table);
    }

    fn layers(&mut self, title: &str, key: &str, lists: &[Vec<PathRule>]) {
        match lists {
            [one] => self.paths(title, one),
            several => {
                for (number, list) in several.iter().enumerate() {
                    self.paths(&format!("{title}: list {} of {}; every `{key}` list must cover a place", number + 1, several.len()), list);
                }
            }
        }
    }
}

fn head(policy: &Policy) -> Table {
    let mut table = Table::new(2);
    table.row(["name".into(), policy.name.as_str().into()]);
    table.row(["why".into(), policy.why.as_str().into()]);
    for (file, role) in &policy.sources {
        table.row([format!("from ({role})").into(), file.as_str().into()]);
    }
    table.row(["fingerprint".into(), format!("sha256:{}", policy.fingerprint()).into()]);
    table
}

fn reach(policy: &Policy) -> Table {
    let mut table = Table::new(2);
    table.row(["git".into(), canonical::git(policy.git).into()]);
    let origin = policy.network.mode_origin.as_ref().map(ToString::to_string).unwrap_or_default();
    table.row(["network".into(), canonical::mode(policy.network.mode).into(), Cell::new(Tone::Faint, &origin)]);
    if policy.network.mode == NetworkMode::Allowlist {
        for (number, hosts) in policy.network.allow.iter().enumerate() {
            let list = if policy.network.allow.len() == 1 { "host".to_owned() } else { format!("host, list {}", number + 1) };
            for (host, origin) in hosts {
                table.row([list.as_str().into(), host.as_str().into(), Cell::new(Tone::Faint, &origin.to_string())]);
            }
            if hosts.is_empty() {
                table.row([list.into(), "none".into()]);
            }
        }
        for (host, origin) in &policy.network.deny {
            table.row(["never".into(), host.as_str().into(), Cell::new(Tone::Faint, &origin.to_string())]);
        }
    }
    for rule in &policy.network.sockets {
        let place = rule.place.to_string();
        let said = format!("{}  ({})", policy::sockets::meaning(&place), rule.origin);
        table.row(["socket".into(), place.as_str().into(), Cell::new(Tone::Faint, &said)]);
    }
    table
}

fn environment(policy: &Policy) -> Table {
    let mut table = Table::new(2);
    let inherit: Vec<&str> = policy.environment.inherit.iter().map(String::as_str).collect();
    table.row(["inherited".into(), if inherit.is_empty() { "none".into() } else { inherit.join(" ").into() }]);
    for (name, value) in &policy.environment.set {
        table.row(["set".into(), format!("{name}={value}").into()]);
    }
    table
}

fn limits(policy: &Policy) -> Table {
    let limits = &policy.limits;
    let mut table = Table::new(2);
    table.row(["wall".into(), units::show_duration(limits.wall).into(), "of wall-clock time".into()]);
    table.row(["memory".into(), units::show_size(limits.memory).into(), "of memory for each call".into()]);
    table.row(["processes".into(), limits.processes.to_string().into(), "processes and threads".into()]);
    table.row(["open_files".into(), limits.open_files.to_string().into(), "open descriptors of each process".into()]);
    table.row(["disk".into(), units::show_size(limits.disk).into(), "of disk space for each call".into()]);
    table.row(["file_size".into(), units::show_size(limits.file_size).into(), "in each file that is written".into()]);
    table.row(["output".into(), units::show_size(limits.output).into(), "of output are kept".into()]);
    table
}

fn enforcement(policy: &Policy) -> Table {
    let mut table = Table::new(2);
    table.row(["ask".into(), canonical::ask(policy.ask).into()]);
    let layers: Vec<String> = policy.enforcement.require.iter().map(ToString::to_string).collect();
    table.row(["require".into(), if layers.is_empty() { "none".into() } else { layers.join(", ").into() }]);
    table.row(["on_missing".into(), canonical::on_missing(policy.enforcement.on_missing).into()]);
    let recording = &policy.recording;
    if *recording != policy::Recording::default() {
        let sync =
            if recording.sync { "each record on disk before its call runs" } else { "records reach the disk as the system writes them" };
        let keep = recording
            .keep
            .map_or_else(|| "logs are kept for ever".to_owned(), |keep| format!("logs go after {}", units::show_duration(keep)));
        let (failure, detail) = (canonical::on_failure(recording.on_failure), canonical::detail(recording.detail));
        table.row(["audit".into(), format!("detail {detail}; {failure} where a record cannot be written; {sync}; {keep}").into()]);
    }
    table
}

fn commands(policy: &Policy) -> Table {
    let mut rules: Vec<_> = policy.commands.iter().collect();
    rules.sort_by(|a, b| (&a.prefix, b.decision, &a.origin).cmp(&(&b.prefix, a.decision, &b.origin)));
    rules.dedup();
    let mut table = Table::new(2);
    for rule in rules {
        // A word with a space in it is not two words.
        let prefix = shlex::try_join(rule.prefix.iter().map(String::as_str)).unwrap_or_else(|_| rule.prefix.join(" "));
        table.row([
            canonical::decision(rule.decision).into(),
            prefix.into(),
            Cell::new(Tone::Faint, &rule.origin.to_string()),
            rule.why.as_str().into(),
        ]);
    }
    table
}
