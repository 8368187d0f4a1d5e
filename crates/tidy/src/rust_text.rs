//! Just enough of Rust's lexical rules to tell strings from code and comments, and tests from the code they test.
//!
//! It never fails: text that is not Rust yields strings that are not there, and the compiler says so first.

/// A string literal of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StringLiteral {
    /// What stands between the quotes; an escape is replaced by a space.
    pub(crate) text: String,
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// Whether it stands inside an item marked `#[cfg(test)]`.
    pub(crate) in_tests: bool,
}

/// The text with comments and the content of strings blanked out, line for line and column for column.
pub(crate) fn code_only(source: &str) -> String {
    scan(source).0
}

/// Every string literal of the text, raw and byte strings among them.
pub(crate) fn string_literals(source: &str) -> Vec<StringLiteral> {
    let (code, literals) = scan(source);
    let tests = lines_of_tests(&code);
    literals
        .into_iter()
        .map(|(line, text)| StringLiteral {
            in_tests: tests.iter().any(|range| range.contains(&line)),
            line,
            text,
        })
        .collect()
}

/// The code with the rest blanked out, and the literals with their lines.
fn scan(source: &str) -> (String, Vec<(usize, String)>) {
    let letters: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut literals = Vec::new();
    let mut position = 0;
    let mut line = 1;
    while position < letters.len() {
        let (end, literal) = match letters[position] {
            '/' if letters.get(position + 1) == Some(&'/') => {
                (end_of_line(&letters, position), None)
            }
            '/' if letters.get(position + 1) == Some(&'*') => {
                (end_of_block_comment(&letters, position), None)
            }
            '"' => {
                let (end, text) = plain_string(&letters, position);
                (end, Some(text))
            }
            'r' if !follows_a_name(&letters, position) => match raw_string(&letters, position) {
                Some((end, text)) => (end, Some(text)),
                None => (position, None),
            },
            '\'' => (end_of_char(&letters, position), None),
            _ => (position, None),
        };
        if let Some(text) = literal {
            literals.push((line, text));
        }
        if end == position {
            code.push(letters[position]);
            line += usize::from(letters[position] == '\n');
            position += 1;
            continue;
        }
        for letter in &letters[position..end] {
            code.push(if *letter == '\n' { '\n' } else { ' ' });
            line += usize::from(*letter == '\n');
        }
        position = end;
    }
    (code, literals)
}

fn end_of_line(letters: &[char], start: usize) -> usize {
    let length = letters[start..].iter().position(|letter| *letter == '\n');
    length.map_or(letters.len(), |length| start + length)
}

fn end_of_block_comment(letters: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut position = start;
    while position < letters.len() {
        match (letters[position], letters.get(position + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                position += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                position += 2;
                if depth == 0 {
                    return position;
                }
            }
            _ => position += 1,
        }
    }
    letters.len()
}

/// The end of the string whose opening quote is at `start`, and its content.
fn plain_string(letters: &[char], start: usize) -> (usize, String) {
    let mut text = String::new();
    let mut position = start + 1;
    while position < letters.len() {
        match letters[position] {
            '"' => return (position + 1, text),
            '\\' => {
                text.push(' ');
                position += 2;
            }
            letter => {
                text.push(letter);
                position += 1;
            }
        }
    }
    (letters.len(), text)
}

/// The end and the content of the raw string whose `r` is at `start`; `None` if that `r` begins none.
fn raw_string(letters: &[char], start: usize) -> Option<(usize, String)> {
    let hashes = letters[start + 1..]
        .iter()
        .take_while(|letter| **letter == '#')
        .count();
    let opening = start + 1 + hashes;
    if letters.get(opening) != Some(&'"') {
        return None;
    }
    let content = &letters[opening + 1..];
    let closing = (0..content.len()).find(|position| {
        content[*position] == '"'
            && content[position + 1..]
                .iter()
                .take(hashes)
                .filter(|letter| **letter == '#')
                .count()
                == hashes
    });
    let length = closing.unwrap_or(content.len());
    let end = (opening + 1 + length + 1 + hashes).min(letters.len());
    Some((end, content[..length].iter().collect()))
}

/// The end of the character literal whose quote is at `start`; `start` itself for a lifetime.
fn end_of_char(letters: &[char], start: usize) -> usize {
    match (letters.get(start + 1), letters.get(start + 2)) {
        (Some('\\'), Some(_)) => {
            let closing = letters[start + 3..]
                .iter()
                .position(|letter| *letter == '\'');
            closing.map_or(start, |length| start + 3 + length + 1)
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start,
    }
}

/// Whether the letter at `position` continues a name; `b` and `c` before a raw string are not names.
fn follows_a_name(letters: &[char], position: usize) -> bool {
    let is_name = |position: usize| letters[position].is_alphanumeric() || letters[position] == '_';
    match position {
        0 => false,
        1 => is_name(0) && !matches!(letters[0], 'b' | 'c'),
        _ => {
            is_name(position - 1)
                && (!matches!(letters[position - 1], 'b' | 'c') || is_name(position - 2))
        }
    }
}

/// The lines of the items marked `#[cfg(test)]`, in blanked-out code.
fn lines_of_tests(code: &str) -> Vec<std::ops::RangeInclusive<usize>> {
    let mut ranges = Vec::new();
    let mut searched = 0;
    while let Some(found) = code[searched..].find("#[cfg(test)]") {
        let start = searched + found;
        let mut depth = 0_usize;
        let mut end = code.len();
        // The item ends with its closing brace, or with a semicolon outside any.
        for (offset, letter) in code[start + 1..].char_indices() {
            match letter {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && letter == '}' {
                        end = start + 1 + offset;
                        break;
                    }
                }
                ';' if depth == 0 => {
                    end = start + 1 + offset;
                    break;
                }
                _ => {}
            }
        }
        let line_of = |position: usize| code[..position].matches('\n').count() + 1;
        ranges.push(line_of(start)..=line_of(end));
        searched = end.max(start + 1);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_literals(source: &str, expected: &[(usize, &str, bool)]) {
        let found = string_literals(source);
        let found: Vec<(usize, &str, bool)> = found
            .iter()
            .map(|literal| (literal.line, literal.text.as_str(), literal.in_tests))
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn strings_of_every_kind_are_found() {
        check_literals(
            r#"f("a \" b", b"c")"#,
            &[(1, "a   b", false), (1, "c", false)],
        );
        check_literals(
            "r\"a\" br#\"b \" c\"#",
            &[(1, "a", false), (1, "b \" c", false)],
        );
        check_literals("\n\"a\nb\"; \"c\"", &[(2, "a\nb", false), (3, "c", false)]);
    }

    #[test]
    fn what_only_looks_like_a_string_is_not_one() {
        check_literals("// \"a\"\n/* \"b\" /* \"c\" */ \"d\" */", &[]);
        check_literals(
            "let quote = '\"'; let other = '\\''; \"a\"",
            &[(1, "a", false)],
        );
        check_literals("fn f<'a>(x: &'a str) { g(\"b\") }", &[(1, "b", false)]);
        check_literals("var\"a\"", &[(1, "a", false)]);
        check_literals("r#type; \"a\"", &[(1, "a", false)]);
    }

    #[test]
    fn tests_are_told_from_the_code_they_test() {
        check_literals(
            "f(\"a\");\n#[cfg(test)]\nmod tests {\n  fn g() { h(\"}\") }\n}\nfn i() { \"b\" }",
            &[(1, "a", false), (4, "}", true), (6, "b", false)],
        );
        check_literals("#[cfg(test)]\nuse a;\n\nf(\"a\")", &[(4, "a", false)]);
    }

    #[test]
    fn unfinished_text_ends_quietly() {
        for source in [
            "\"a", "r#\"a", "r#\"a\"", "/* a", "'", "'\\", "'\\'", "\"\\", "r", "r#",
        ] {
            string_literals(source);
        }
    }

    #[test]
    fn code_keeps_its_lines_and_columns() {
        assert_eq!(code_only("a // b\nc \"d\" e"), "a     \nc     e");
    }
}
