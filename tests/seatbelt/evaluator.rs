//! A reading of Seatbelt's profile language (SBPL) that owes nothing to the code which writes profiles: given a profile and an operation, allowed
//! or not.
//!
//! Sources: what Apple's own profiles in `/System/Library/Sandbox/Profiles` use, Blazakis, "The Apple Sandbox" (2011), and the "Apple Sandbox Guide"
//! (fG!, 2011). Of the rules whose operation and any of whose filters match, the last one holds; where none does, what `(deny default)` says. An
//! operation that ends with `*` stands for all that begin so. Paths are compared as the kernel knows them, byte for byte: it is a stricter reading
//! than that of a file system which takes two cases for one name. Whatever form is not known here is an error, and never skipped.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use regex::bytes::Regex;

/// One thing that a process asks the kernel for.
#[derive(Debug, Clone)]
pub struct Operation<'a> {
    /// Its name, such as `file-read-data`.
    pub name: &'a str,
    /// What it is about.
    pub about: About<'a>,
}

/// What an operation is about.
#[derive(Debug, Clone)]
pub enum About<'a> {
    /// A file, by its real path.
    File(&'a Path),
    /// A terminal's device; whether this sandbox made it.
    Terminal(&'a Path, bool),
    /// An address of this machine's loopback, or of elsewhere, and a port.
    Address { loopback: bool, port: u16 },
    /// A unix socket, by its real path.
    Socket(&'a Path),
    /// A service, a system value or a semaphore, by its name.
    Name(&'a str),
    /// A process; whether it is in this sandbox.
    Process(bool),
    /// A family of sockets.
    Family(&'a str),
}

/// A profile, ready to be asked.
#[derive(Debug)]
pub struct Evaluator {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    allows: bool,
    operations: Vec<String>,
    filters: Vec<Filter>,
}

#[derive(Debug)]
enum Filter {
    Subpath(PathBuf),
    Literal(PathBuf),
    Ancestors(PathBuf),
    Expression(Regex),
    All(Vec<Filter>),
    MadeTerminal,
    Ip { remote: bool, loopback: bool, port: Option<u16> },
    UnixSocket { remote: bool, which: Box<Filter> },
    Global(String),
    Value(String),
    ValuePrefix(String),
    SharedPrefix(String),
    SameSandbox,
    Family(String),
}

/// The operations that are known, and what each can be about.
const OPERATIONS: [&str; 29] = [
    "default",
    "file-ioctl",
    "file-link",
    "file-clone",
    "file-map-executable",
    "file-read*",
    "file-read-data",
    "file-read-metadata",
    "file-test-existence",
    "file-write*",
    "file-write-create",
    "file-write-data",
    "file-write-mode",
    "file-write-unlink",
    "ipc-posix-sem",
    "ipc-posix-shm",
    "mach-lookup",
    "network-bind",
    "network-inbound",
    "network-outbound",
    "process-exec*",
    "process-exec",
    "process-fork",
    "process-info*",
    "process-info-pidinfo",
    "pseudo-tty",
    "signal",
    "sysctl-read",
    "system-socket",
];

impl Evaluator {
    /// Reads a profile with the values of its parameters.
    pub fn new(text: &str, parameters: &[(String, String)]) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for (name, value) in parameters {
            if values.insert(name.as_str(), value.as_str()).is_some() {
                return Err(format!("the parameter {name} is given twice"));
            }
        }
        let mut forms = read(text)?.into_iter();
        if forms.next() != Some(Form::List(vec![symbol("version"), symbol("1")])) {
            return Err("a profile begins with (version 1)".to_owned());
        }
        if forms.next() != Some(Form::List(vec![symbol("deny"), symbol("default")])) {
            return Err("only a profile that denies by default is read".to_owned());
        }
        let rules = forms.map(|form| rule(form, &values)).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Whether the operation is allowed.
    pub fn allows(&self, operation: &Operation<'_>) -> bool {
        assert!(OPERATIONS.contains(&operation.name) && !operation.name.ends_with('*'), "no operation of the kernel's: {}", operation.name);
        self.rules.iter().rev().find(|rule| rule.matches(operation)).is_some_and(|rule| rule.allows)
    }

    /// The same for several at once: what one system call takes.
    pub fn allows_all(&self, names: &[&str], about: &About<'_>) -> bool {
        names.iter().all(|name| self.allows(&Operation { name, about: about.clone() }))
    }
}

impl Rule {
    fn matches(&self, operation: &Operation<'_>) -> bool {
        let named = self.operations.iter().any(|own| match own.strip_suffix('*') {
            Some(beginning) => operation.name.starts_with(beginning) || operation.name == beginning.trim_end_matches('-'),
            None => own == operation.name,
        });
        named && (self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(&operation.about)))
    }
}

impl Filter {
    fn matches(&self, about: &About<'_>) -> bool {
        let path = match about {
            About::File(path) | About::Terminal(path, _) | About::Socket(path) => Some(*path),
            _ => None,
        };
        match self {
            Self::Subpath(folder) => path.is_some_and(|path| path.starts_with(folder)),
            Self::Literal(own) => path == Some(own.as_path()),
            Self::Ancestors(own) => path.is_some_and(|path| own != path && own.starts_with(path)),
            Self::Expression(expression) => path.is_some_and(|path| expression.is_match(path.as_os_str().as_encoded_bytes())),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(about)),
            Self::MadeTerminal => matches!(about, About::Terminal(_, true)),
            // `local` and `remote` tell the two ends of a connection apart. Each operation here is about the one end that its name is about, which
            // the profile has to name.
            Self::Ip { loopback: only_loopback, port: own, .. } => {
                matches!(about, About::Address { loopback, port } if (*loopback || !only_loopback) && own.is_none_or(|own| own == *port))
            }
            Self::UnixSocket { which, .. } => matches!(about, About::Socket(_)) && which.matches(about),
            Self::Global(own) | Self::Value(own) => matches!(about, About::Name(name) if name == own),
            Self::ValuePrefix(own) | Self::SharedPrefix(own) => matches!(about, About::Name(name) if name.starts_with(own.as_str())),
            Self::SameSandbox => matches!(about, About::Process(true)),
            Self::Family(own) => matches!(about, About::Family(family) if family == own),
        }
    }
}

/// A form of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Symbol(String),
    Text(String),
    List(Vec<Form>),
}

fn symbol(name: &str) -> Form {
    Form::Symbol(name.to_owned())
}

fn rule(form: Form, values: &BTreeMap<&str, &str>) -> Result<Rule, String> {
    let Form::List(parts) = &form else { return Err(format!("{form:?} stands outside of any rule")) };
    let allows = match parts.first() {
        Some(Form::Symbol(name)) if name == "allow" => true,
        Some(Form::Symbol(name)) if name == "deny" => false,
        other => return Err(format!("a rule that begins with {other:?} is not known")),
    };
    let mut operations = Vec::new();
    let mut filters = Vec::new();
    for part in &parts[1..] {
        match part {
            Form::Symbol(name) if filters.is_empty() && OPERATIONS.contains(&name.as_str()) => operations.push(name.clone()),
            Form::List(_) => filters.push(filter(part, values)?),
            other => return Err(format!("{other:?} in a rule is not known")),
        }
    }
    if operations.is_empty() {
        return Err(format!("a rule about nothing: {form:?}"));
    }
    for (operation, filter) in operations.iter().flat_map(|operation| filters.iter().map(move |filter| (operation, filter))) {
        if !fits(operation, filter) {
            return Err(format!("{filter:?} says nothing about {operation}"));
        }
    }
    Ok(Rule { allows, operations, filters })
}

/// Whether a filter can be about an operation. `sandbox-exec` refuses a profile where it cannot.
fn fits(operation: &str, filter: &Filter) -> bool {
    let file = operation.starts_with("file-") || operation.starts_with("process-exec");
    match filter {
        Filter::All(filters) => filters.iter().all(|filter| fits(operation, filter)),
        Filter::Subpath(_) | Filter::Literal(_) | Filter::Expression(_) => file || operation == "network-outbound",
        Filter::Ancestors(_) | Filter::MadeTerminal => file,
        Filter::Ip { remote, .. } | Filter::UnixSocket { remote, .. } => {
            if *remote {
                operation == "network-outbound"
            } else {
                matches!(operation, "network-bind" | "network-inbound")
            }
        }
        Filter::Global(_) => operation == "mach-lookup",
        Filter::Value(_) | Filter::ValuePrefix(_) => operation == "sysctl-read",
        Filter::SharedPrefix(_) => operation.starts_with("ipc-posix-"),
        Filter::SameSandbox => operation == "signal" || operation.starts_with("process-info"),
        Filter::Family(_) => operation == "system-socket",
    }
}

fn filter(form: &Form, values: &BTreeMap<&str, &str>) -> Result<Filter, String> {
    let unknown = || format!("the filter {form:?} is not known");
    let Form::List(parts) = form else { return Err(unknown()) };
    let (Some(Form::Symbol(name)), rest) = (parts.first(), parts.get(1..).unwrap_or_default()) else { return Err(unknown()) };
    let absolute = |form: &Form| {
        let path = PathBuf::from(text(form, values)?);
        if path.is_absolute() && !path.to_string_lossy().ends_with("//") { Ok(path) } else { Err(format!("{path:?} is not absolute")) }
    };
    match (name.as_str(), rest) {
        ("subpath", [path]) => Ok(Filter::Subpath(absolute(path)?)),
        ("literal", [path]) => Ok(Filter::Literal(absolute(path)?)),
        ("path-ancestors", [path]) => Ok(Filter::Ancestors(absolute(path)?)),
        ("regex", [expression]) => expression_of(&text(expression, values)?).map(Filter::Expression),
        ("require-all", filters) if !filters.is_empty() => {
            Ok(Filter::All(filters.iter().map(|form| filter(form, values)).collect::<Result<_, _>>()?))
        }
        ("extension", [class]) if text(class, values)? == "com.apple.sandbox.pty" => Ok(Filter::MadeTerminal),
        ("local" | "remote", [Form::Symbol(kind), what]) => {
            let remote = name == "remote";
            match kind.as_str() {
                "ip" => {
                    let what = text(what, values)?;
                    let (host, port) = what.split_once(':').ok_or_else(unknown)?;
                    // Other hosts than these two are a syntax error of sandbox-exec's.
                    let loopback = match host {
                        "localhost" => true,
                        "*" => false,
                        _ => return Err(unknown()),
                    };
                    let port = if port == "*" { None } else { Some(port.parse().map_err(|_| unknown())?) };
                    Ok(Filter::Ip { remote, loopback, port })
                }
                "unix-socket" => Ok(Filter::UnixSocket { remote, which: Box::new(filter(what, values)?) }),
                _ => Err(unknown()),
            }
        }
        ("global-name", [name]) => Ok(Filter::Global(text(name, values)?)),
        ("sysctl-name", [name]) => Ok(Filter::Value(text(name, values)?)),
        ("sysctl-name-prefix", [name]) => Ok(Filter::ValuePrefix(text(name, values)?)),
        ("ipc-posix-name-prefix", [name]) => Ok(Filter::SharedPrefix(text(name, values)?)),
        ("target", [Form::Symbol(who)]) if who == "same-sandbox" => Ok(Filter::SameSandbox),
        ("socket-domain", [Form::Symbol(family)]) if family == "AF_UNIX" => Ok(Filter::Family(family.clone())),
        _ => Err(unknown()),
    }
}

/// A string, or the value of a parameter.
fn text(form: &Form, values: &BTreeMap<&str, &str>) -> Result<String, String> {
    match form {
        Form::Text(text) => Ok(text.clone()),
        Form::List(parts) => match parts.as_slice() {
            [Form::Symbol(name), Form::Text(parameter)] if name == "param" => {
                values.get(parameter.as_str()).map(|value| (*value).to_owned()).ok_or_else(|| format!("no parameter {parameter}"))
            }
            _ => Err(format!("{form:?} is no text")),
        },
        Form::Symbol(_) => Err(format!("{form:?} is no text")),
    }
}

/// An expression, in the subset that Seatbelt's own have: what goes beyond it is an error.
fn expression_of(text: &str) -> Result<Regex, String> {
    let mut characters = text.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_class => return Err(format!("a backslash within brackets is one more member: {text}")),
            '\\' => match characters.next() {
                Some(next) if next.is_ascii_punctuation() => {}
                other => return Err(format!("\\{other:?} is not known: {text}")),
            },
            '[' if in_class => return Err(format!("a bracket within brackets: {text}")),
            '[' => in_class = true,
            ']' => in_class = false,
            '{' | '}' if !in_class => return Err(format!("counting is not known: {text}")),
            '(' if !in_class && characters.peek() == Some(&'?') => {
                return Err(format!("groups with a question mark are not known: {text}"));
            }
            _ => {}
        }
    }
    // Byte for byte, and with a dot that does not stand for the end of a line, which is the reading under which least is matched.
    regex::bytes::RegexBuilder::new(text).unicode(false).build().map_err(|error| error.to_string())
}

/// The forms of a text.
fn read(text: &str) -> Result<Vec<Form>, String> {
    let mut characters = text.chars().peekable();
    let mut open: Vec<Vec<Form>> = vec![Vec::new()];
    while let Some(character) = characters.next() {
        let form = match character {
            ';' => {
                characters.by_ref().find(|character| *character == '\n');
                continue;
            }
            character if character.is_whitespace() => continue,
            '(' => {
                open.push(Vec::new());
                continue;
            }
            ')' => {
                let list = open.pop().filter(|_| !open.is_empty()).ok_or("a bracket too many")?;
                Form::List(list)
            }
            '"' => Form::Text(string(&mut characters, true)?),
            '#' if characters.next_if_eq(&'"').is_some() => Form::Text(string(&mut characters, false)?),
            character if character.is_ascii_alphanumeric() => {
                let mut name = String::from(character);
                while let Some(next) = characters.next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '-' | '*' | '_')) {
                    name.push(next);
                }
                Form::Symbol(name)
            }
            other => return Err(format!("{other:?} is not known")),
        };
        open.last_mut().ok_or("a bracket too many")?.push(form);
    }
    match open.as_slice() {
        [forms] => Ok(forms.clone()),
        _ => Err("a bracket is missing".to_owned()),
    }
}

fn string(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, escapes: bool) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match characters.next().ok_or("a string without an end")? {
            '"' => return Ok(text),
            '\\' if escapes => match characters.next() {
                Some(next @ ('"' | '\\')) => text.push(next),
                other => return Err(format!("the escape {other:?} is not known")),
            },
            character => text.push(character),
        }
    }
}
