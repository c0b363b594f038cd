//! Bytes of a terminal → keys.

/// A pasted text is kept up to this many bytes.
const PASTE_CAP: usize = 64 * 1024;
/// After so many moments in which nothing came, a paste without an end is given up, or no key would ever count again.
const PASTE_PATIENCE: u32 = 40;
/// A sequence that is longer than this is none.
const SEQUENCE_CAP: usize = 32;
const PASTE_END: &[u8] = b"\x1b[201~";

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Ctrl and a letter, in lower case.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape, alone.
    Escape,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Left.
    Left,
    /// Right.
    Right,
    /// Up.
    Up,
    /// Down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Text that was pasted, and said to be.
    Paste(String),
    /// Something else.
    Other,
}

/// Decodes a stream that comes in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    paste: Option<Vec<u8>>,
    /// Moments without input since the last.
    idle: u32,
}

enum Step {
    /// This many bytes are a key, or nothing.
    Key(usize, Option<Key>),
    /// More has to come.
    More,
}

impl Decoder {
    /// Takes more bytes, and gives the keys that are whole.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.held.extend_from_slice(bytes);
        self.idle = 0;
        let mut keys = Vec::new();
        while !self.held.is_empty() {
            if let Some(paste) = &mut self.paste {
                let end = self.held.windows(PASTE_END.len()).position(|window| window == PASTE_END);
                // What could be the beginning of the end stays.
                let taken = end.unwrap_or_else(|| self.held.len().saturating_sub(PASTE_END.len() - 1));
                let room = PASTE_CAP.saturating_sub(paste.len());
                paste.extend_from_slice(&self.held[..taken.min(room)]);
                if end.is_none() {
                    self.held.drain(..taken);
                    break;
                }
                keys.push(Key::Paste(String::from_utf8_lossy(paste).into_owned()));
                self.paste = None;
                self.held.drain(..taken + PASTE_END.len());
                continue;
            }
            match step(&self.held) {
                Step::More => break,
                Step::Key(length, key) => {
                    if self.held.starts_with(b"\x1b[200~") {
                        self.paste = Some(Vec::new());
                    } else {
                        keys.extend(key);
                    }
                    self.held.drain(..length);
                }
            }
        }
        keys
    }

    /// Says that nothing has come for a while: what could have been the beginning of something is not.
    pub fn quiet(&mut self) -> Option<Key> {
        if let Some(paste) = &self.paste {
            self.idle += 1;
            if self.idle < PASTE_PATIENCE {
                return None;
            }
            let text = String::from_utf8_lossy(paste).into_owned();
            (self.paste, self.held) = (None, Vec::new());
            return Some(Key::Paste(text));
        }
        if self.held.is_empty() {
            return None;
        }
        let escape = self.held == b"\x1b";
        self.held.clear();
        Some(if escape { Key::Escape } else { Key::Other })
    }
}

fn step(bytes: &[u8]) -> Step {
    match bytes {
        [0x1b] => Step::More,
        [0x1b, b'[', rest @ ..] => control_sequence(rest),
        [0x1b, b'O'] => Step::More,
        [0x1b, b'O', key, ..] => Step::Key(3, Some(named(*key, b""))),
        [0x1b, 0x1b, ..] => Step::Key(1, Some(Key::Escape)),
        // Alt and a key.
        [0x1b, ..] => Step::Key(2, Some(Key::Other)),
        [b'\r', ..] => Step::Key(1, Some(Key::Enter)),
        [0x7f | 0x08, ..] => Step::Key(1, Some(Key::Backspace)),
        [control @ 1..=0x1f, ..] => Step::Key(1, Some(Key::Ctrl(char::from(control + b'a' - 1)))),
        [0, ..] => Step::Key(1, Some(Key::Other)),
        [first, ..] => {
            let length = match first {
                0..=0x7f => 1,
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return Step::Key(1, Some(Key::Other)),
            };
            let available = &bytes[..length.min(bytes.len())];
            match std::str::from_utf8(available) {
                Ok(text) => Step::Key(length, text.chars().next().map(Key::Char)),
                Err(error) if error.error_len().is_none() && bytes.len() < length => Step::More,
                Err(_) => Step::Key(1, Some(Key::Other)),
            }
        }
        [] => Step::More,
    }
}

/// What follows on `ESC [` (ECMA-48, section 5.4): parameters, then what comes between, then one final byte.
fn control_sequence(rest: &[u8]) -> Step {
    let inner = rest.iter().take_while(|byte| (0x20..=0x3f).contains(*byte)).count();
    match rest.get(inner) {
        _ if inner > SEQUENCE_CAP => Step::Key(2 + inner, Some(Key::Other)),
        None => Step::More,
        Some(last @ 0x40..=0x7e) => Step::Key(3 + inner, Some(named(*last, &rest[..inner]))),
        // Broken off by something that cannot stand in one.
        Some(_) => Step::Key(2 + inner, Some(Key::Other)),
    }
}

fn named(last: u8, parameters: &[u8]) -> Key {
    match (last, parameters) {
        (b'A', b"") => Key::Up,
        (b'B', b"") => Key::Down,
        (b'C', b"") => Key::Right,
        (b'D', b"") => Key::Left,
        (b'H', b"") | (b'~', b"1" | b"7") => Key::Home,
        (b'F', b"") | (b'~', b"4" | b"8") => Key::End,
        (b'M', b"") => Key::Enter,
        (b'~', b"3") => Key::Delete,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Key> {
        let mut keys = decoder.push(bytes);
        keys.extend(decoder.quiet());
        keys
    }

    #[test]
    fn keys_are_what_terminals_send_for_them() {
        let cases: [(&[u8], &[Key]); 14] = [
            (b"y", &[Key::Char('y')]),
            ("ä漢".as_bytes(), &[Key::Char('ä'), Key::Char('漢')]),
            (b"\r", &[Key::Enter]),
            (b"\n", &[Key::Ctrl('j')]),
            (b"\x03", &[Key::Ctrl('c')]),
            (b"\x1b", &[Key::Escape]),
            (b"\x1b[A\x1bOB", &[Key::Up, Key::Down]),
            (b"\x1b[5~\x1b[6~", &[Key::PageUp, Key::PageDown]),
            (b"\x1b[1~\x1b[F", &[Key::Home, Key::End]),
            (b"\x7f\x08\x1b[3~", &[Key::Backspace, Key::Backspace, Key::Delete]),
            (b"\x1b[200~y\ry\x1b[201~n", &[Key::Paste("y\ry".to_owned()), Key::Char('n')]),
            (b"\x1by", &[Key::Other]),
            (b"\xff\xc3", &[Key::Other, Key::Other]),
            (b"\x1b[1;5A", &[Key::Other]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(all(&mut Decoder::default(), bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_paste_without_an_end_is_no_key_and_does_not_pile_up() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"\x1b[200~"), []);
        for _ in 0..100 {
            assert_eq!(decoder.push(&[b'y'; 4096]), []);
            assert_eq!(decoder.quiet(), None);
            assert!(decoder.held.len() < 8);
        }
        let Some(Key::Paste(text)) = decoder.push(PASTE_END).pop() else { panic!("no paste") };
        assert_eq!(text.len(), PASTE_CAP);
        // One whose end never comes does not keep the keyboard for ever.
        assert_eq!(decoder.push(b"\x1b[200~y"), []);
        let given_up = (0..PASTE_PATIENCE).find_map(|_| decoder.quiet());
        assert_eq!(given_up, Some(Key::Paste(String::new())));
        assert_eq!(decoder.push(b"n"), [Key::Char('n')]);
    }

    proptest! {
        #[test]
        fn bytes_decode_alike_wherever_they_are_cut(parts in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..6),
                Just(b"\x1b[200~".to_vec()), Just(PASTE_END.to_vec()), Just(b"\x1b[A".to_vec()), Just("漢".as_bytes().to_vec()),
            ], 0..12), cut in 0usize..80) {
            let bytes = parts.concat();
            let whole = all(&mut Decoder::default(), &bytes);
            let mut decoder = Decoder::default();
            let (one, other) = bytes.split_at(cut.min(bytes.len()));
            let mut keys = decoder.push(one);
            keys.extend(all(&mut decoder, other));
            prop_assert_eq!(whole, keys);
        }
    }
}
