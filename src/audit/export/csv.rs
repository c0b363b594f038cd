//! CSV (RFC 4180) for people and their spreadsheets. A cell that a spreadsheet would compute begins with an apostrophe, which says that it is text.

use crate::audit::{
    reading::Entry,
    record::Event,
    sentence::{clipped, sentence},
};

/// The columns.
const HEADER: [&str; 15] = [
    "time",
    "session",
    "seq",
    "event",
    "call",
    "tool",
    "decision",
    "decided_by",
    "rule",
    "status",
    "exit_code",
    "duration_ms",
    "output_bytes",
    "denials",
    "text",
];

/// Writes rows, the first of them the names of the columns.
#[derive(Debug, Default)]
pub struct Csv {
    begun: bool,
}

impl Csv {
    /// The names of the columns, if they were not written yet.
    pub fn header(&mut self) -> String {
        if std::mem::replace(&mut self.begun, true) { String::new() } else { row(&HEADER.map(str::to_owned)) }
    }

    /// A record's row.
    pub fn row(&mut self, entry: &Entry) -> String {
        let field = |name: &str| match entry.fields.get(name) {
            Some(serde_json::Value::String(text)) => clipped(text),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value.to_string(),
            _ => String::new(),
        };
        let denials = match &entry.event {
            Some(Event::CallOutcome { denials, .. }) => {
                denials.iter().map(|denial| clipped(&denial.sentence())).collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        };
        let said = sentence(entry);
        let mut cells = HEADER.map(field);
        let [.., denied, text] = &mut cells;
        *denied = denials;
        *text = format!("{}: {}", said.what, said.text);
        self.header() + &row(&cells.map(|cell| inert(&cell)))
    }
}

/// What Excel, LibreOffice and Google Sheets would compute is made text (as OWASP advises on CSV injection), also where white space stands before it.
fn inert(cell: &str) -> String {
    let computes = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '|', '%']);
    if computes || cell.starts_with(['\t', '\r', '\n']) { format!("'{cell}") } else { cell.to_owned() }
}

fn row(cells: &[String]) -> String {
    let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
    // Memory takes whatever is written.
    let _infallible = writer.write_record(cells);
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::reading::{Line, Lines};

    fn exported(arguments: &str) -> Vec<Vec<String>> {
        let record = serde_json::json!({"session": "s", "event": "call_intent", "seq": 1, "time": "t", "call": arguments, "tool": arguments,
            "arguments": arguments, "decision": "allow", "decided_by": "rule", "rule": arguments});
        let line = Lines::new(record.to_string().as_bytes()).next().unwrap().unwrap();
        let Line::Entry(entry) = line else { panic!("{line:?}") };
        let text = Csv::default().row(&entry);
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_formula_is_text() {
        for formula in ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1"] {
            let rows = exported(formula);
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[1][4], format!("'{formula}"));
            assert_eq!(rows[1][5], format!("'{formula}"));
        }
        assert_eq!(exported("plain")[1][4], "plain");
    }

    proptest! {
        #[test]
        fn no_argument_breaks_out_of_its_cell(text in any::<String>()) {
            let rows = exported(&text);
            prop_assert_eq!(rows.len(), 2);
            prop_assert_eq!(rows[1].len(), HEADER.len());
            prop_assert_eq!(rows[1][4].trim_start_matches('\''), text.trim_start_matches('\''));
        }
    }
}
