//! From the shape of a file to a [`PartialPolicy`]: every value is checked here, and an error points at the value.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
    time::Duration,
};

use toml::Spanned;

use super::{
    canonical, command,
    error::{Mark, PolicyError, Problem, Source, nearest, value},
    file::{self, AuditShape, CommandShape, LONGEST_LIST, LimitsShape, PolicyFile, Strings},
    groups::{group, groups},
    host::normal_rule,
    model::{Ask, CommandRule, Decision, Detail, GitAccess, Layer, NetworkMode, OnFailure, OnMissing, Origin, PathRule, Place},
    partial::{HostRule, PartialLimits, PartialPolicy, PartialRecording},
    place::{self, Fault},
    units,
};

/// A file's own part, and what it extends with the place where it says so.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) partial: PartialPolicy,
    pub(super) extends: Option<(String, Mark)>,
}

/// What `allow` under `[git]` can be, in the order in which an error names it; so with the others.
const GIT: [GitAccess; 3] = [GitAccess::None, GitAccess::Commit, GitAccess::Full];
const MODES: [NetworkMode; 4] = [NetworkMode::None, NetworkMode::Loopback, NetworkMode::Allowlist, NetworkMode::Open];
const ASK: [Ask; 3] = [Ask::WhenNeeded, Ask::Always, Ask::Never];
const LAYERS: [Layer; 3] = [Layer::Landlock, Layer::Seccomp, Layer::Namespaces];
const DECISIONS: [Decision; 3] = [Decision::Allow, Decision::Ask, Decision::Forbid];

/// Seconds of a day.
const DAY: u64 = 24 * 3600;
/// Seconds for which logs can be kept where they are not kept for ever: ten years.
const LONGEST_KEPT: u64 = 3650 * DAY;

/// Which list an entry stands in; what is allowed differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Read,
    Write,
    Deny,
    Protect,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Deny => "deny",
            Self::Protect => "protect",
        }
    }
}

/// Reads and checks one file.
pub(super) fn compile(source: &Source) -> Result<Compiled, PolicyError> {
    let file: PolicyFile = file::parse(source)?;
    file::check_schema(source, file.schema.as_ref())?;
    let Some(name) = &file.name else {
        return Err(source.error(&(0..0), Problem::MissingKey("name"), Some("a policy needs a name".to_owned())));
    };
    let reader = Reader { source };
    reader.hosts_count(&file)?;
    let partial = PartialPolicy {
        name: reader.name("name", name)?,
        why: file.why.as_ref().map(|why| reader.sentence("why", why)).transpose()?,
        read: file.filesystem.read.as_ref().map(|list| reader.paths(List::Read, list)).transpose()?,
        write: file.filesystem.write.as_ref().map(|list| reader.paths(List::Write, list)).transpose()?,
        deny: file.filesystem.deny.as_ref().map(|list| reader.paths(List::Deny, list)).transpose()?.unwrap_or_default(),
        protect: file.filesystem.protect.as_ref().map(|list| reader.paths(List::Protect, list)).transpose()?.unwrap_or_default(),
        git: file.git.allow.as_ref().map(|word| reader.choice("allow", word, &GIT, canonical::git)).transpose()?,
        mode: file.network.mode.as_ref().map(|word| reader.mode(word)).transpose()?,
        hosts: file.network.allow.as_ref().map(|list| reader.hosts("allow", list)).transpose()?,
        sockets: file.network.sockets.as_ref().map(|list| reader.sockets(list)).transpose()?,
        denied_hosts: file.network.deny.as_ref().map(|list| reader.hosts("deny", list)).transpose()?.unwrap_or_default(),
        inherit: file.environment.inherit.as_ref().map(|list| reader.variables(list)).transpose()?,
        set: file.environment.set.as_ref().map(|set| reader.settings(set)).transpose()?.unwrap_or_default(),
        limits: reader.limits(&file.limits)?,
        ask: file.approval.ask.as_ref().map(|word| reader.choice("ask", word, &ASK, canonical::ask)).transpose()?,
        commands: reader.commands(&file.command)?,
        require: file.enforcement.require.as_ref().map(|list| reader.layers(list)).transpose()?,
        on_missing: file
            .enforcement
            .on_missing
            .as_ref()
            .map(|word| reader.choice("on_missing", word, &[OnMissing::Refuse, OnMissing::Degrade], canonical::on_missing))
            .transpose()?,
        recording: reader.recording(&file.audit)?,
        files: vec![source.file.clone()],
    };
    let extends =
        file.extends.as_ref().map(|target| reader.filled("extends", target).map(|text| (text.to_owned(), source.mark(&target.span()))));
    Ok(Compiled { partial, extends: extends.transpose()? })
}

/// Checks values of one file.
struct Reader<'a> {
    source: &'a Source,
}

impl Reader<'_> {
    fn fail<T>(&self, span: &Range<usize>, problem: Problem, hint: impl Into<Option<String>>) -> Result<T, PolicyError> {
        Err(self.source.error(span, problem, hint))
    }

    fn origin(&self, span: &Range<usize>, group: Option<&str>) -> Origin {
        Origin { file: self.source.file.clone(), line: self.source.line(span.start), group: group.map(str::to_owned) }
    }

    fn filled<'t>(&self, key: &'static str, text: &'t Spanned<String>) -> Result<&'t str, PolicyError> {
        if text.get_ref().trim().is_empty() {
            return self.fail(&text.span(), Problem::Empty(key), None);
        }
        Ok(text.get_ref())
    }

    fn name(&self, key: &'static str, text: &Spanned<String>) -> Result<String, PolicyError> {
        let name = self.filled(key, text)?;
        if name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            let hint = "letters, digits, `-`, `_` and `.`, at most 64 of them".to_owned();
            return self.fail(&text.span(), Problem::Malformed { what: "name", value: value(name) }, hint);
        }
        Ok(name.to_owned())
    }

    /// A sentence for people and for the model, which therefore may not hold what would forge another line.
    fn sentence(&self, key: &'static str, text: &Spanned<String>) -> Result<String, PolicyError> {
        let sentence = self.filled(key, text)?.trim();
        if sentence.chars().count() > 400 || sentence.contains(char::is_control) {
            let hint = "one line of at most 400 characters".to_owned();
            return self.fail(&text.span(), Problem::Malformed { what: "sentence", value: value(sentence) }, hint);
        }
        Ok(sentence.to_owned())
    }

    /// The one of `choices` whose name in files is `word`.
    fn choice<T: Copy>(
        &self,
        key: &'static str,
        word: &Spanned<String>,
        choices: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<T, PolicyError> {
        if let Some(found) = choices.iter().find(|choice| name(**choice) == word.get_ref()) {
            return Ok(*found);
        }
        let names: Vec<&str> = choices.iter().map(|choice| name(*choice)).collect();
        self.fail(&word.span(), Problem::NotAChoice { key, value: value(word.get_ref()) }, format!("one of: {}", names.join(", ")))
    }

    fn entries<'t>(&self, list: &'static str, strings: &'t Strings) -> Result<&'t [Spanned<String>], PolicyError> {
        let entries = strings.get_ref();
        if entries.len() > LONGEST_LIST {
            return self.fail(&strings.span(), Problem::TooMany { list, found: entries.len(), limit: LONGEST_LIST }, None);
        }
        Ok(entries)
    }

    fn paths(&self, list: List, strings: &Strings) -> Result<Vec<PathRule>, PolicyError> {
        let mut rules = Vec::new();
        for entry in self.entries(list.name(), strings)? {
            let span = entry.span();
            let Some(name) = entry.get_ref().strip_prefix('@') else {
                let place = place::parse(entry.get_ref()).map_err(|fault| match fault.problem {
                    Problem::WholeHome(home) if list == List::Write => Fault { problem: Problem::WritesEverything(home), ..fault },
                    _ => fault,
                });
                let place = place.and_then(|place| allowed_in(list, place, entry.get_ref()));
                let place = place.map_err(|fault| self.source.error(&span, fault.problem, fault.hint))?;
                rules.push(PathRule { place, origin: self.origin(&span, None) });
                continue;
            };
            let Some(group) = group(name)? else {
                let known = groups()?.iter().map(|group| group.name.as_str());
                return self.fail(&span, Problem::UnknownGroup(value(name)), nearest(name, known, "@"));
            };
            for rule in &group.rules {
                let place = allowed_in(list, rule.place.clone(), entry.get_ref());
                let place = place.map_err(|fault| self.source.error(&span, fault.problem, fault.hint))?;
                rules.push(PathRule { place, origin: self.origin(&span, Some(name)) });
            }
        }
        Ok(rules)
    }

    fn recording(&self, audit: &AuditShape) -> Result<PartialRecording, PolicyError> {
        let on_failure = [OnFailure::Stop, OnFailure::Continue];
        let detail = [Detail::Full, Detail::Metadata];
        Ok(PartialRecording {
            on_failure: audit
                .on_failure
                .as_ref()
                .map(|word| self.choice("on_failure", word, &on_failure, canonical::on_failure))
                .transpose()?,
            sync: audit.sync.as_ref().map(|word| self.choice("sync", word, &[true, false], canonical::sync)).transpose()?,
            detail: audit.detail.as_ref().map(|word| self.choice("detail", word, &detail, canonical::detail)).transpose()?,
            keep: audit.keep.as_ref().map(|time| self.duration("keep", time, DAY..=LONGEST_KEPT)).transpose()?,
        })
    }

    fn mode(&self, word: &Spanned<String>) -> Result<(NetworkMode, Origin), PolicyError> {
        Ok((self.choice("mode", word, &MODES, canonical::mode)?, self.origin(&word.span(), None)))
    }

    fn hosts(&self, list: &'static str, strings: &Strings) -> Result<Vec<HostRule>, PolicyError> {
        let entries = self.entries(list, strings)?;
        entries
            .iter()
            .map(|entry| {
                let text = entry.get_ref();
                if let Ok(rule) = normal_rule(text) {
                    return Ok((rule, self.origin(&entry.span(), None)));
                }
                let hint = match text.as_str() {
                    "*" => "an allow list lists; for every host write mode = \"open\"",
                    _ if text.contains("//") => "the host alone, without https:// and without a path",
                    _ => "as packages.example.org, *.example.org, packages.example.org:8443, or \"GET,HEAD example.org:80\" for plain HTTP",
                };
                self.fail(&entry.span(), Problem::Malformed { what: "host rule", value: value(text) }, hint.to_owned())
            })
            .collect()
    }

    /// Hosts that a file lists beside a mode of its own that does not go by them: whoever wrote that believes that something is enforced.
    fn hosts_count(&self, file: &PolicyFile) -> Result<(), PolicyError> {
        let Some(mode) = &file.network.mode else { return Ok(()) };
        let (mode, _) = self.mode(mode)?;
        if mode == NetworkMode::Allowlist {
            return Ok(());
        }
        for (key, list) in [("allow", &file.network.allow), ("deny", &file.network.deny)] {
            if let Some(list) = list.as_ref().filter(|list| !list.get_ref().is_empty()) {
                let hint = "write mode = \"allowlist\", or leave the list out".to_owned();
                return self.fail(&list.span(), Problem::Inert { key, mode: canonical::mode(mode) }, hint);
            }
        }
        Ok(())
    }

    fn sockets(&self, strings: &Strings) -> Result<Vec<PathRule>, PolicyError> {
        let socket = |entry: &Spanned<String>| {
            let hint = "the whole path of one socket, such as /run/user/1000/agent.sock or ~/.agent.sock".to_owned();
            let problem = Problem::Malformed { what: "path of a socket", value: value(entry.get_ref()) };
            match place::parse(entry.get_ref()) {
                Ok(place @ (Place::Absolute(_) | Place::Home(_))) => Ok(PathRule { place, origin: self.origin(&entry.span(), None) }),
                Ok(_) => self.fail(&entry.span(), problem, hint),
                Err(fault) => Err(self.source.error(&entry.span(), fault.problem, fault.hint)),
            }
        };
        self.entries("sockets", strings)?.iter().map(socket).collect()
    }

    fn variable(&self, name: &Spanned<String>) -> Result<String, PolicyError> {
        let text = self.filled("environment variable", name)?;
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || text.len() > 256 || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let hint = "letters, digits and `_`, one variable each; there are no wildcards".to_owned();
            return self.fail(&name.span(), Problem::Malformed { what: "environment variable", value: value(text) }, hint);
        }
        Ok(text.to_owned())
    }

    fn variables(&self, strings: &Strings) -> Result<BTreeSet<String>, PolicyError> {
        self.entries("inherit", strings)?.iter().map(|name| self.variable(name)).collect()
    }

    fn settings(&self, set: &Spanned<BTreeMap<Spanned<String>, Spanned<String>>>) -> Result<BTreeMap<String, String>, PolicyError> {
        let found = set.get_ref().len();
        if found > LONGEST_LIST {
            return self.fail(&set.span(), Problem::TooMany { list: "set", found, limit: LONGEST_LIST }, None);
        }
        let settings = set.get_ref().iter().map(|(name, text)| {
            if text.get_ref().contains(char::is_control) {
                let hint = "no control characters".to_owned();
                return self.fail(&text.span(), Problem::Malformed { what: "value", value: value(text.get_ref()) }, hint);
            }
            Ok((self.variable(name)?, text.get_ref().clone()))
        });
        settings.collect()
    }

    fn limits(&self, limits: &LimitsShape) -> Result<PartialLimits, PolicyError> {
        Ok(PartialLimits {
            wall: limits.wall.as_ref().map(|v| self.duration("wall", v, 1..=DAY)).transpose()?,
            memory: limits.memory.as_ref().map(|v| self.size("memory", v, 16 << 20..=u64::MAX)).transpose()?,
            processes: limits.processes.as_ref().map(|v| self.count("processes", v, 1..=65_536)).transpose()?,
            open_files: limits.open_files.as_ref().map(|v| self.count("open_files", v, 16..=1_048_576)).transpose()?,
            file_size: limits.file_size.as_ref().map(|v| self.size("file_size", v, 4 << 10..=u64::MAX)).transpose()?,
            disk: limits.disk.as_ref().map(|v| self.size("disk", v, 1 << 20..=u64::MAX)).transpose()?,
            output: limits.output.as_ref().map(|v| self.size("output", v, 1 << 10..=64 << 20)).transpose()?,
        })
    }

    fn duration(&self, key: &'static str, text: &Spanned<toml::Value>, range: RangeInclusive<u64>) -> Result<Duration, PolicyError> {
        let Some(duration) = text.get_ref().as_str().and_then(units::parse_duration) else {
            let problem = Problem::WrongUnit { what: "duration", value: shown(text) };
            return self.fail(&text.span(), problem, units::DURATION_HINT.to_owned());
        };
        if !range.contains(&duration.as_secs()) {
            let hint = if *range.end() == DAY { "from 1s to 24h" } else { "from 1d to 3650d" };
            return self.fail(&text.span(), Problem::OutOfRange { key, value: shown(text) }, hint.to_owned());
        }
        Ok(duration)
    }

    fn size(&self, key: &'static str, text: &Spanned<toml::Value>, range: RangeInclusive<u64>) -> Result<u64, PolicyError> {
        let bytes = match text.get_ref() {
            toml::Value::String(size) => units::parse_size(size),
            // No range takes nothing, so what is less than that is out of it as well.
            toml::Value::Integer(bytes) => Some(u64::try_from(*bytes).unwrap_or(0)),
            _ => None,
        };
        let Some(bytes) = bytes else {
            return self.fail(&text.span(), Problem::WrongUnit { what: "size", value: shown(text) }, units::SIZE_HINT.to_owned());
        };
        if !range.contains(&bytes) {
            return self.fail(&text.span(), Problem::OutOfRange { key, value: shown(text) }, bounds(&range, units::show_size));
        }
        Ok(bytes)
    }

    fn count(&self, key: &'static str, text: &Spanned<toml::Value>, range: RangeInclusive<u64>) -> Result<u64, PolicyError> {
        let Some(number) = text.get_ref().as_integer() else {
            return self.fail(&text.span(), Problem::WrongType(format!("`{key}` takes a whole number")), None);
        };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => self.fail(&text.span(), Problem::OutOfRange { key, value: shown(text) }, bounds(&range, |n| n.to_string())),
        }
    }

    fn layers(&self, strings: &Strings) -> Result<BTreeSet<Layer>, PolicyError> {
        self.entries("require", strings)?.iter().map(|word| self.choice("require", word, &LAYERS, canonical::layer)).collect()
    }

    fn commands(&self, shapes: &[CommandShape]) -> Result<Vec<CommandRule>, PolicyError> {
        if let Some(last) = shapes.get(LONGEST_LIST) {
            return self.fail(&last.prefix.span(), Problem::TooMany { list: "command", found: shapes.len(), limit: LONGEST_LIST }, None);
        }
        shapes.iter().map(|shape| self.command(shape)).collect()
    }

    fn command(&self, shape: &CommandShape) -> Result<CommandRule, PolicyError> {
        let words = self.entries("prefix", &shape.prefix)?;
        if words.is_empty() {
            let hint = "name at least the program; for every command there is [approval]".to_owned();
            return self.fail(&shape.prefix.span(), Problem::Empty("prefix"), hint);
        }
        let prefix = words.iter().map(|word| self.filled("prefix", word).map(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
        if let Some(word) = words.first().filter(|word| word.get_ref().contains(' ') && !word.get_ref().contains('/')) {
            let hint = "one word each, as in [\"git\", \"push\"]; a rule with all in one would never match".to_owned();
            return self.fail(&word.span(), Problem::Malformed { what: "program name", value: value(word.get_ref()) }, hint);
        }
        let texts = |examples: &[Spanned<String>]| examples.iter().map(|example| example.get_ref().clone()).collect();
        let rule = CommandRule {
            prefix,
            decision: self.choice("decision", &shape.decision, &DECISIONS, canonical::decision)?,
            why: shape.why.as_ref().map(|why| self.sentence("why", why)).transpose()?.unwrap_or_default(),
            examples_match: texts(&shape.examples_match),
            examples_not_match: texts(&shape.examples_not_match),
            origin: self.origin(&shape.prefix.span(), None),
        };
        for (examples, expected) in [(&shape.examples_match, true), (&shape.examples_not_match, false)] {
            for example in examples {
                self.example(&rule, example, expected)?;
            }
        }
        Ok(rule)
    }

    fn example(&self, rule: &CommandRule, example: &Spanned<String>, expected: bool) -> Result<(), PolicyError> {
        let text = self.filled("example", example)?;
        let Some(argv) = shlex::split(text).filter(|argv| !argv.is_empty()) else {
            let hint = "close every quote; an example is one plain command".to_owned();
            return self.fail(&example.span(), Problem::ExampleUnreadable(value(text)), hint);
        };
        if command::matches(rule, &argv) == expected {
            return Ok(());
        }
        let problem = if expected { Problem::ExampleMissed(value(text)) } else { Problem::ExampleCaught(value(text)) };
        self.fail(&example.span(), problem, format!("the prefix is `{}`, compared word by word", value(&rule.prefix.join(" "))))
    }
}

/// What may stand in which list. `entry` is the text as written, which may be a group's name.
fn allowed_in(list: List, place: Place, entry: &str) -> Result<Place, Fault> {
    let whole = |place: &Place| matches!(place, Place::Absolute(path) if path.parent().is_none());
    match (list, &place) {
        (List::Write, place) if whole(place) => {
            Err(Fault::new(Problem::WritesEverything(value(entry)), "name the folders that have to be writable, or @workspace"))
        }
        (List::Deny | List::Protect, place) if whole(place) => Err(Fault::new(
            Problem::TooWide { place: value(entry), list: list.name() },
            "what no list names is neither readable nor writable; leave it out of read and write",
        )),
        (List::Read | List::Write, Place::WorkspaceGlob(glob)) => Err(Fault::new(
            Problem::GlobNotAllowed { glob: value(glob), list: list.name() },
            "only deny and protect may hold globs; name the folder, and deny what is in it",
        )),
        (List::Deny | List::Protect, Place::Temporary | Place::PrivateHome) => Err(Fault::new(
            Problem::PrivateInList { place: value(entry), list: list.name() },
            "it is empty and private; to go without, leave it out of write",
        )),
        _ => Ok(place),
    }
}

fn shown(text: &Spanned<toml::Value>) -> String {
    match text.get_ref() {
        toml::Value::String(text) => value(text),
        other => value(&other.to_string()),
    }
}

fn bounds(range: &RangeInclusive<u64>, show: impl Fn(u64) -> String) -> String {
    if *range.end() == u64::MAX {
        format!("at least {}", show(*range.start()))
    } else {
        format!("from {} to {}", show(*range.start()), show(*range.end()))
    }
}
