//! What begins with a slash at the prompt.

use crate::policy::Ask;

/// A command to portcullis itself. The model sees none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// What there is.
    Help,
    /// What confines the session.
    Policy,
    /// When a person is asked; a new mode, if one is given.
    Ask(Option<Ask>),
    /// What changed in the workspace.
    Diff,
    /// What is granted.
    Grants,
    /// Takes a grant back.
    Revoke(String),
    /// What runs in the background.
    Background,
    /// The last output of one of these.
    Output(u32),
    /// Ends one of these.
    Stop(u32),
    /// Has the model sum up the conversation, and goes on from there.
    Compact,
    /// Tokens so far.
    Cost,
    /// Has an image go along with the next prompt.
    Image(String),
    /// Where the log is.
    Log,
    /// Goes on with another session.
    Resume,
    /// Ends the session.
    Quit,
}

/// Each command as it is typed, with what it is for.
pub(super) const ALL: [(&str, &str); 15] = [
    ("/ask", "when you are asked; /ask always|when-needed|never changes it"),
    ("/background", "programs that go on in the background"),
    ("/compact", "have the conversation summed up, so that it costs less from here on"),
    ("/cost", "tokens so far, and how many came from the provider's cache"),
    ("/diff", "what differs from the last commit, in the workspace"),
    ("/grants", "what you allowed for longer than one call"),
    ("/help", "this list"),
    ("/image", "an image for the next prompt: /image sketch.png"),
    ("/log", "where the record of this session is"),
    ("/output", "the last output of a program in the background: /output 1"),
    ("/policy", "what the model's calls may do"),
    ("/quit", "end the session; so does Ctrl-D"),
    ("/resume", "leave this session, and go on with an earlier one"),
    ("/revoke", "take a grant back: /revoke 1a2b3c4d"),
    ("/stop", "end a program in the background: /stop 1"),
];

/// Reads a line that begins with a slash. The error is for the person.
pub(super) fn parse(line: &str) -> Result<Command, String> {
    // Names of files can hold blanks; an @ in front is there to complete them.
    let file = line.strip_prefix("/image ").map(|file| file.trim().trim_start_matches('@'));
    if let Some(file) = file.filter(|file| !file.is_empty()) {
        return Ok(Command::Image(file.to_owned()));
    }
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let argument = words.next();
    if words.next().is_some() {
        return Err(format!("{name} takes at most one word more"));
    }
    let number = || {
        let number = argument.and_then(|number| number.parse().ok());
        number.ok_or_else(|| format!("{name} needs the number of a program in the background; /background gives them"))
    };
    match (name, argument) {
        ("/ask", None) => Ok(Command::Ask(None)),
        ("/ask", Some("always")) => Ok(Command::Ask(Some(Ask::Always))),
        ("/ask", Some("when-needed")) => Ok(Command::Ask(Some(Ask::WhenNeeded))),
        ("/ask", Some("never")) => Ok(Command::Ask(Some(Ask::Never))),
        ("/ask", Some(_)) => Err("/ask takes always, when-needed or never".to_owned()),
        ("/revoke", Some(id)) => Ok(Command::Revoke(id.to_owned())),
        ("/revoke", None) => Err("/revoke needs the id of a grant; /grants gives them".to_owned()),
        ("/image", _) => Err("/image needs the name of a file, relative to the working directory or absolute".to_owned()),
        ("/output", _) => number().map(Command::Output),
        ("/stop", _) => number().map(Command::Stop),
        (_, Some(_)) if ALL.iter().any(|(known, _)| *known == name) => Err(format!("{name} takes nothing more")),
        ("/background", None) => Ok(Command::Background),
        ("/compact", None) => Ok(Command::Compact),
        ("/cost", None) => Ok(Command::Cost),
        ("/diff", None) => Ok(Command::Diff),
        ("/grants", None) => Ok(Command::Grants),
        ("/help", None) => Ok(Command::Help),
        ("/log", None) => Ok(Command::Log),
        ("/resume", None) => Ok(Command::Resume),
        ("/policy", None) => Ok(Command::Policy),
        ("/quit" | "/exit", None) => Ok(Command::Quit),
        _ => {
            let near = ALL.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, name), known)).min();
            let near = near.filter(|(distance, _)| *distance <= 2).map(|(_, known)| format!("; did you mean {known}?"));
            Err(format!("there is no command {name}{}", near.unwrap_or_else(|| "; /help lists them".to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_command_that_is_listed_exists_and_the_list_is_sorted() {
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, _) in ALL {
            let with = |argument: &str| parse(&format!("{name} {argument}"));
            assert!(parse(name).is_ok() || with("1").is_ok(), "{name}");
        }
    }

    #[test]
    fn a_mistake_is_answered_with_what_would_be_right() {
        let cases = [
            ("/halp", "did you mean /help?"),
            ("/xyzzy", "/help lists them"),
            ("/stop", "needs the number"),
            ("/stop one", "needs the number"),
            ("/ask sometimes", "always, when-needed or never"),
            ("/diff all", "takes nothing more"),
            ("/revoke", "needs the id"),
            ("/image", "needs the name"),
        ];
        for (line, expected) in cases {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert_eq!(parse("/ask always"), Ok(Command::Ask(Some(Ask::Always))));
        assert_eq!(parse("/image a b.png"), Ok(Command::Image("a b.png".to_owned())));
        assert_eq!(parse("/image @a.png"), Ok(Command::Image("a.png".to_owned())));
        assert_eq!(parse("/stop 2"), Ok(Command::Stop(2)));
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_an_error(line in "/.{0,40}") {
            let _ = parse(&line);
        }
    }
}
