//! The syntax of a host rule. What a rule matches is decided where connections are made.

/// Whether `text` is `host`, `*.host` or either with `:port`: labels of RFC 1123 section 2.1 with `_` besides, no trailing dot.
pub fn is_host_rule(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let host = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let port_fits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    host.len() <= 253 && host.split('.').all(label) && port.is_none_or(port_fits)
}
