//! JSON in one form only: keys sorted, no white space. What a digest and a signature are over.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The canonical text of a value. Numbers are as they were written, which for a certificate are whole ones.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let members: Vec<String> =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{ "b": [ {"z":1,"a":"\n"} ], "a": null }"#).unwrap();
        assert_eq!(canonical(&value), r#"{"a":null,"b":[{"a":"\n","z":1}]}"#);
    }

    proptest! {
        #[test]
        fn what_is_canonical_is_the_same_value(keys in proptest::collection::vec(".{0,8}", 0..8), number in any::<i64>()) {
            let value = json!({ "list": keys.clone(), "map": keys.iter().map(|key| (key.clone(), json!(number))).collect::<serde_json::Map<_, _>>() });
            let text = canonical(&value);
            prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
            prop_assert_eq!(canonical(&serde_json::from_str(&text).unwrap()), text);
        }
    }
}
