//! Names inside SQL text.

/// An identifier, quoted so that any name is taken literally.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Several identifiers, quoted and separated by commas.
pub fn quoted_list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_quote_is_doubled() {
        assert_eq!(super::quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(super::quoted_list(&["a", "b"]), "\"a\", \"b\"");
    }
}
