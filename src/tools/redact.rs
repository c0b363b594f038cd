//! Known secrets out of everything that leaves a sandbox, before the model, the screen or the log sees it.

/// Replaces exact secrets. Shapes of secrets are not guessed.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

/// Shorter values would tear ordinary text apart.
const SHORTEST: usize = 8;

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish()
    }
}

impl Redactor {
    /// Knows these values; those under eight bytes are left out.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        // The longest first, so that one secret inside another leaves no rest.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The last place up to `end` at which bytes, of which more may come, can be cut without tearing a secret, or what may become one.
    pub(super) fn cut(&self, bytes: &[u8], mut end: usize) -> usize {
        let begins = |secret: &str, start: &usize| {
            let (rest, secret) = (&bytes[*start..], secret.as_bytes());
            rest.starts_with(secret) || secret.starts_with(rest)
        };
        let torn =
            |end: usize| self.secrets.iter().find_map(|secret| (end.saturating_sub(secret.len() - 1)..end).find(|at| begins(secret, at)));
        while let Some(start) = torn(end) {
            end = start;
        }
        end
    }

    /// How many bytes at the beginning, before which some are missing, are the rest of a secret, or look like one.
    pub(super) fn rest_of_a_secret(&self, bytes: &[u8]) -> usize {
        let rests = self.secrets.iter().flat_map(|secret| (1..secret.len()).map(|at| &secret.as_bytes()[at..]));
        rests.filter(|rest| bytes.starts_with(rest) || rest.starts_with(bytes)).map(|rest| rest.len().min(bytes.len())).max().unwrap_or(0)
    }

    /// The text without them.
    pub fn redact(&self, text: &str) -> String {
        self.secrets
            .iter()
            .fold(text.to_owned(), |text, secret| if text.contains(secret) { text.replace(secret, "[redacted]") } else { text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_secret_is_replaced_wherever_it_stands_and_never_shown_by_debug() {
        let redactor = Redactor::new(["sk-secret-value".to_owned(), "short".to_owned()]);
        assert_eq!(redactor.redact("a sk-secret-valuesk-secret-value short"), "a [redacted][redacted] short");
        assert!(!format!("{redactor:?}").contains("sk-"));
    }
}
