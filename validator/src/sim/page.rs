//! Tables of figures for people, and their places in pages of the documentation.

/// The place of a table in a page: between two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line before the table.
    pub begin: &'static str,
    /// The line after it.
    pub end: &'static str,
}

impl Place {
    /// The page with the table in this place replaced. `None`: it has no such place.
    #[must_use]
    pub fn insert(&self, page: &str, table: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = page.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n{table}{end}{after}"))
    }
}

/// A share in percent, never rounded up to a hundred.
pub(super) fn percent(share: f64) -> String {
    if share >= 1.0 { "100 %".into() } else { format!("{:.2} %", (share * 1e4).floor() / 1e2) }
}

/// A number with its thousands set apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_finds_its_place() {
        let place = Place { begin: "<!-- begin -->", end: "<!-- end -->" };
        let page = "# A\n\n<!-- begin -->\nold\n<!-- end -->\n\nmore\n";
        let written = place.insert(page, "new\n").expect("it has the place");
        assert_eq!(written, "# A\n\n<!-- begin -->\nnew\n<!-- end -->\n\nmore\n");
        assert_eq!(place.insert(&written, "new\n").as_deref(), Some(written.as_str()));
        assert_eq!(place.insert("# A\n", "new\n"), None);
        assert_eq!(place.insert("<!-- end -->\n<!-- begin -->\n", "new\n"), None, "in the wrong order");
    }

    #[test]
    fn numbers_are_readable_and_honest() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1.0, 0.99999, 0.5].map(percent), ["100 %", "99.99 %", "50.00 %"]);
    }
}
