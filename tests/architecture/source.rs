//! Just enough of Rust's syntax to measure a source file: what is a comment, a string, a test, a function.

use std::ops::Range;

/// A function as the budgets see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both counted.
    pub lines: usize,
    /// Parameters, `self` counted.
    pub parameters: usize,
    /// Whether a trait dictates the signature: the trait's own declaration is where it is judged.
    pub dictated: bool,
}

/// The code alone: comments and the insides of strings and characters become spaces, lines stay.
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, inside) = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_comment(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment(bytes, at),
            b'"' => quoted(bytes, at),
            b'\'' => character(bytes, at),
            b'r' if !continues_a_word(bytes, at) => raw_string(bytes, at),
            _ => (at + 1, at..at),
        };
        for byte in &mut masked[inside] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(masked).expect("only whole characters are masked")
}

/// Code without what is compiled for tests alone; lines stay, emptied. Takes what [`code`] gives.
pub fn without_tests(code: &str) -> String {
    let mut kept = code.as_bytes().to_vec();
    for range in test_items(code) {
        for byte in &mut kept[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(kept).expect("only whole items are emptied")
}

/// Lines of a file that are neither compiled for tests alone nor rows of a constant table.
pub fn lines_counted(code: &str) -> usize {
    let lines = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    let tests: usize = test_items(code).into_iter().map(|range| lines(&code[range])).sum();
    let production = without_tests(code);
    let tables: usize = tables(&production).into_iter().map(|range| lines(&code[range])).sum();
    lines(code) - tests - tables
}

/// Names of modules in files of their own that are compiled for tests alone.
pub fn test_modules(code: &str) -> Vec<String> {
    let names = test_items(code).into_iter().filter_map(|range| {
        let item = &code[range];
        let name = item.strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(name.trim().to_owned())
    });
    names.collect()
}

/// Every function, declared or defined. Takes what [`code`] gives.
pub fn functions(code: &str) -> Vec<Function> {
    let impls = trait_impls(code);
    let dictated = |at: usize| impls.iter().any(|range| range.contains(&at));
    find_words(code, "fn").filter_map(|at| Some(Function { dictated: dictated(at), ..function(code, at)? })).collect()
}

/// Where `needle` stands in `code` as whole words.
pub fn find_words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let after = at + needle.len();
        let opens = !is_word(needle.as_bytes()[0]) || !continues_a_word(bytes, *at);
        let closes = !is_word(bytes[after - 1]) || !bytes.get(after).copied().is_some_and(is_word);
        opens && closes
    })
}

/// The line a byte stands on, from 1.
pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].bytes().filter(|byte| *byte == b'\n').count() + 1
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1]) && !is_string_prefix(bytes, at)
}

/// Whether the byte before `at` is the `b` or `c` of `br"` or `cr"`.
fn is_string_prefix(bytes: &[u8], at: usize) -> bool {
    let alone = at < 2 || !is_word(bytes[at - 2]);
    bytes[at] == b'r' && alone && matches!(bytes[at - 1], b'b' | b'c') && matches!(bytes.get(at + 1), Some(b'"' | b'#'))
}

fn line_comment(bytes: &[u8], at: usize) -> (usize, Range<usize>) {
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length);
    (end, at..end)
}

fn block_comment(bytes: &[u8], at: usize) -> (usize, Range<usize>) {
    let (mut depth, mut end) = (1, at + 2);
    while depth > 0 && end < bytes.len() {
        match &bytes[end..] {
            [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
            [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
    }
    (end, at..end)
}

fn quoted(bytes: &[u8], at: usize) -> (usize, Range<usize>) {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    let end = end.min(bytes.len());
    ((end + 1).min(bytes.len()), at + 1..end)
}

/// A character, or else the tick of a lifetime.
fn character(bytes: &[u8], at: usize) -> (usize, Range<usize>) {
    let rest = &bytes[at + 1..];
    let length = match rest {
        [b'\\', ..] => rest.iter().skip(2).position(|byte| *byte == b'\'').map(|length| length + 2),
        [b'\'', ..] | [] => None,
        [first, ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xE0 => 2,
                0xE0..0xF0 => 3,
                _ => 4,
            };
            (rest.get(width) == Some(&b'\'')).then_some(width)
        }
    };
    length.map_or((at + 1, at..at), |length| (at + length + 2, at + 1..at + 1 + length))
}

fn raw_string(bytes: &[u8], at: usize) -> (usize, Range<usize>) {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let start = at + 1 + hashes;
    if bytes.get(start) != Some(&b'"') {
        return (at + 1, at..at);
    }
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    let length = bytes[start + 1..].windows(closing.len()).position(|window| window == closing);
    let end = length.map_or(bytes.len(), |length| start + 1 + length);
    ((end + closing.len()).min(bytes.len()), start + 1..end)
}

/// The items under `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        if items.last().is_some_and(|last| last.contains(&start)) {
            continue;
        }
        let from = start + attribute.len();
        let end = match code[from..].find(['{', ';']).map(|length| from + length) {
            Some(at) if code.as_bytes()[at] == b'{' => closing(code, at).map_or(code.len(), |end| end + 1),
            Some(at) => at + 1,
            None => code.len(),
        };
        items.push(start..end);
    }
    items
}

/// Where the bracket that opens at `at` is closed.
fn closing(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn function(code: &str, at: usize) -> Option<Function> {
    let rest = code[at + 2..].trim_start();
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let open = parameters_open(code, at).filter(|_| !name.is_empty())?;
    let close = closing(code, open)?;
    let body = close + code[close..].find(['{', ';'])?;
    let end = if code.as_bytes()[body] == b';' { body } else { closing(code, body)? };
    let line = line_of(code, at);
    let lines = line_of(code, end) - line + 1;
    Some(Function { name, line, lines, parameters: count_parameters(&code[open + 1..close]), dictated: false })
}

/// The bodies of `impl Trait for Type`.
fn trait_impls(code: &str) -> Vec<Range<usize>> {
    let body = |at: usize| {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        let open = at + code[at..].find('{')?;
        let mut fors = find_words(&code[at..open], "for").filter(|found| !code[at + found + 3..].starts_with('<'));
        let is_trait = matches!(before, "" | "unsafe") && fors.next().is_some();
        Some(open..closing(code, open)?).filter(|_| is_trait)
    };
    find_words(code, "impl").filter_map(body).collect()
}

/// The array literals of constants and statics.
fn tables(code: &str) -> Vec<Range<usize>> {
    let table = |at: usize| {
        let equals = at + code[at..].find(['=', '{'])?;
        let value = code[equals..].strip_prefix('=')?.trim_start().trim_start_matches('&');
        let open = code.len() - value.len();
        Some(open..closing(code, open)?).filter(|_| value.starts_with('['))
    };
    let lifetime = |at: &usize| code[..*at].ends_with('\'');
    let statics = find_words(code, "static").filter(|at| !lifetime(at));
    find_words(code, "const").chain(statics).filter_map(table).collect()
}

/// The `(` after the name and its type parameters.
fn parameters_open(code: &str, at: usize) -> Option<usize> {
    let mut angle = 0_i32;
    let mut previous = b' ';
    for (index, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'<' => angle += 1,
            b'>' if previous != b'-' => angle -= 1,
            b'(' if angle == 0 => return Some(index),
            b'{' | b';' => return None,
            _ => {}
        }
        previous = byte;
    }
    None
}

fn count_parameters(list: &str) -> usize {
    let (mut depth, mut previous) = (0_i32, b' ');
    let (mut count, mut empty) = (0, true);
    for byte in list.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'>' if previous != b'-' => depth -= 1,
            b',' if depth == 0 => {
                count += usize::from(!empty);
                empty = true;
                previous = byte;
                continue;
            }
            _ => {}
        }
        empty &= byte.is_ascii_whitespace();
        previous = byte;
    }
    count + usize::from(!empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let source = "let a = \"HashMap\"; // HashMap\n/* HashMap /* nested */ HashMap */ let b = r#\"Hash\"Map\"#; let c = 'x';\n";
        let code = code(source);
        assert_eq!(code.len(), source.len());
        assert!(!code.contains("Hash"), "{code}");
        assert!(code.contains("let b = r#\"") && code.contains("let c = ' ';"), "{code}");
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        let source = "fn f<'a>(x: &'a str) -> &'a str { HashMap }";
        assert_eq!(code(source), source);
        assert_eq!(code("'\\'' HashMap '\"' 'é' b'\"' HashMap"), "'  ' HashMap ' ' '  ' b' ' HashMap");
    }

    #[test]
    fn escapes_and_byte_strings_end_where_they_end() {
        assert_eq!(code(r#""a\"b" x br"\" y"#), r#""    " x br" " y"#);
    }

    #[test]
    fn tests_are_no_production_code() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let kept = without_tests(source);
        assert!(kept.contains("fn a") && kept.contains("fn c") && !kept.contains("fn b"), "{kept}");
        assert_eq!(lines_counted(source), 3);
        assert_eq!(test_modules("#[cfg(test)]\nmod world;\nmod other;\n"), ["world"]);
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let source = "fn a<T: Fn(u8, u8) -> u8>(&self, b: (u8, u8), c: Map<K, V>,) -> u8\nwhere T: X {\n  { }\n}\n";
        let expected = Function { name: "a".into(), line: 1, lines: 4, parameters: 3, dictated: false };
        assert_eq!(functions(source), [expected]);
    }

    #[test]
    fn function_types_are_no_functions() {
        assert_eq!(functions("struct S { f: fn(u8) -> u8 } type F = fn();"), []);
    }

    #[test]
    fn a_trait_dictates_to_its_implementations_alone() {
        let source = "trait T {\n fn a(&self);\n}\nimpl T for S {\n fn a(&self) {}\n}\nimpl<F: for<'x> G<'x>> S<F> {\n fn b() {}\n}\n";
        let dictated: Vec<bool> = functions(source).iter().map(|function| function.dictated).collect();
        assert_eq!(dictated, [false, true, false]);
    }

    #[test]
    fn rows_of_a_table_are_not_counted() {
        let source =
            "pub const A: [(u8, u8); 3] = [\n(1, 1),\n(2, 2),\n];\nconst fn f() {\n}\nstatic B: &[u8] = &[\n1,\n];\n";
        assert_eq!(lines_counted(source), 4);
        let lifetimes = "fn f(a: &'static str, b: &'static str) {}\nconst A: [u8; 2] = [\n1,\n2,\n];\n";
        assert_eq!(lines_counted(lifetimes), 2);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(find_words("HashMap MyHashMap HashMaps fs::read std::fs::x offs::y", "HashMap").count(), 1);
        assert_eq!(find_words("fs::read std::fs::x offs::y", "fs::").count(), 2);
    }
}
