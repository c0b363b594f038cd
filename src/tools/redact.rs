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

    /// Bytes of the longest of them.
    pub fn longest(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
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
