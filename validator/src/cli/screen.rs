//! Live views: a page that is drawn again over the one before.

use std::io::{self, IsTerminal as _, Write};

/// Where pages are drawn: on a terminal in place, no higher than it is, so that nothing scrolls away; elsewhere one below the
/// other, whole.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Lines and columns of the terminal.
    size: Option<(usize, usize)>,
}

impl Screen {
    /// That of standard output, as large as it is now.
    pub fn now() -> Self {
        let size = || console::Term::stdout().size();
        let size = io::stdout().is_terminal().then(size);
        Self { size: size.map(|(lines, columns)| (lines.into(), columns.into())) }
    }

    /// A page that fits. `page` makes one of about so many lines, or fewer; lines that are too wide take several.
    pub fn fit(&self, page: impl Fn(usize) -> String) -> String {
        let mut lines = self.lines();
        loop {
            let page = page(lines);
            let over = self.wrapped(&page).len().saturating_sub(self.lines());
            if over == 0 || over >= lines {
                return page;
            }
            lines -= over;
        }
    }

    /// Draws a page.
    ///
    /// # Errors
    /// If the reader has gone.
    pub fn draw(&self, page: &str, out: &mut impl Write) -> io::Result<()> {
        if self.size.is_none() {
            writeln!(out, "{}", page.trim_end())?;
            return out.flush();
        }
        let mut lines = self.wrapped(page);
        if lines.len() > self.lines() {
            lines.truncate(self.lines() - 1);
            lines.push("more lines than the terminal has".to_owned());
        }
        // Home, then each line over the old one, then the rest of the screen is cleared: nothing flickers.
        out.write_all(b"\x1b[H")?;
        for line in lines {
            writeln!(out, "{line}\x1b[K")?;
        }
        out.write_all(b"\x1b[J")?;
        out.flush()
    }

    /// Lines that it shows; the cursor stands below them.
    fn lines(&self) -> usize {
        self.size.map_or(usize::MAX, |(lines, _)| lines.saturating_sub(1).max(1))
    }

    /// The lines of a page, those that are too wide in pieces. The last column stays free: a terminal is of two minds about
    /// where the cursor is after it.
    fn wrapped(&self, page: &str) -> Vec<String> {
        let width = self.size.map_or(usize::MAX, |(_, columns)| columns.saturating_sub(1).max(1));
        let pieces = |line: &str| {
            let letters: Vec<char> = line.chars().collect();
            let pieces: Vec<String> = letters.chunks(width).map(|piece| piece.iter().collect()).collect();
            if pieces.is_empty() { vec![String::new()] } else { pieces }
        };
        page.trim_end().lines().flat_map(pieces).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(size: Option<(usize, usize)>, page: &str) -> String {
        let mut out = Vec::new();
        Screen { size }.draw(page, &mut out).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_page_that_fits_is_drawn_over_the_last_one() {
        assert_eq!(drawn(Some((3, 80)), "one\ntwo\n\n"), "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
    }

    #[test]
    fn nothing_scrolls_and_a_line_that_is_too_wide_goes_on_in_the_next() {
        let text = drawn(Some((5, 34)), "one that is longer than a terminal of thirty-four\nb\nc\nd\n");
        let expected = [
            "\x1b[Hone that is longer than a termina\x1b[K",
            "l of thirty-four\x1b[K",
            "b\x1b[K",
            "more lines than the terminal has\x1b[K",
            "\x1b[J",
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn where_there_is_no_terminal_pages_are_whole() {
        let long = "x".repeat(500) + &"\ny".repeat(100);
        assert_eq!(drawn(None, &long), long.clone() + "\n");
        assert_eq!(Screen { size: None }.fit(|lines| lines.to_string()), usize::MAX.to_string());
    }

    #[test]
    fn a_page_is_made_lower_until_it_fits_with_its_wide_lines() {
        let screen = Screen { size: Some((11, 9)) };
        // Every third line takes two.
        let page = |lines: usize| (0..lines).map(|n| if n % 3 == 0 { "0123456789\n" } else { "x\n" }).collect();
        let fitting: String = screen.fit(page);
        let height = screen.wrapped(&fitting).len();
        assert!((8..=10).contains(&height), "{height}: {fitting}");
        // What cannot be made lower is cut when it is drawn.
        let stubborn = screen.fit(|_| "x\n".repeat(30));
        assert_eq!(stubborn.lines().count(), 30);
    }
}
