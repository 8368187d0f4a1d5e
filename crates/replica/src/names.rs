//! Names in SQL text, always quoted: a table may be called anything.

/// The name as SQL text.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names separated by commas.
pub(crate) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_stays_inside_it() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(list(["a", "b c"]), "\"a\",\"b c\"");
    }
}
