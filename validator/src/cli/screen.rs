//! Live views: a page that is drawn again over the one before.

use std::io::{self, IsTerminal as _, Write};

/// Where pages are drawn: on a terminal in place, cut to its size, so that nothing scrolls away; elsewhere one below the
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

    /// Lines of a page that it shows; the cursor stands below them.
    pub fn lines(&self) -> usize {
        self.size.map_or(usize::MAX, |(lines, _)| lines.saturating_sub(1).max(1))
    }

    /// Draws a page.
    ///
    /// # Errors
    /// If the reader has gone.
    pub fn draw(&self, page: &str, out: &mut impl Write) -> io::Result<()> {
        let Some((_, columns)) = self.size else {
            writeln!(out, "{}", page.trim_end())?;
            return out.flush();
        };
        let mut lines: Vec<String> = page.trim_end().lines().map(str::to_owned).collect();
        if lines.len() > self.lines() {
            lines.truncate(self.lines() - 1);
            lines.push("more lines than the terminal has".to_owned());
        }
        // Home, then each line over the old one, then the rest of the screen is cleared: nothing flickers.
        out.write_all(b"\x1b[H")?;
        for line in lines {
            let line: String = line.chars().take(columns).collect();
            writeln!(out, "{line}\x1b[K")?;
        }
        out.write_all(b"\x1b[J")?;
        out.flush()
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
    fn nothing_scrolls_and_no_line_takes_two() {
        let text = drawn(Some((4, 34)), "a line that is longer than the terminal is wide\nb\nc\nd\n");
        assert_eq!(text.matches('\n').count(), 3, "{text:?}");
        assert!(text.starts_with("\x1b[Ha line that is longer than the ter\x1b[K\nb\x1b[K\nmore lines"), "{text:?}");
    }

    #[test]
    fn where_there_is_no_terminal_pages_are_whole() {
        let long = "x".repeat(500) + &"\ny".repeat(100);
        assert_eq!(drawn(None, &long), long.clone() + "\n");
        assert_eq!(Screen { size: None }.lines(), usize::MAX);
    }
}
