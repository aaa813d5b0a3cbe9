//! Runs side by side, and the page of the documentation that their figures go to.

use crate::{
    cli::{say, say_json},
    sim::page::Place,
};
use anyhow::Context as _;
use rayon::prelude::*;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Runs all plans, at most so many side by side; the rows are in the order of the plans.
///
/// # Errors
/// If threads cannot be started.
fn run_all<P: Sync, R: Send>(
    plans: &[P],
    at_once: usize,
    run: impl Fn(&P) -> R + Sync + Send,
) -> anyhow::Result<Vec<R>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(at_once.min(cores)).build()?;
    Ok(pool.install(|| plans.par_iter().with_max_len(1).map(run).collect()))
}

/// What a command measures, and where its figures go.
pub(super) struct Report<'a> {
    /// The document that the table is written to, beside being printed.
    pub(super) write: Option<&'a Path>,
    /// Where in the document.
    pub(super) place: Place,
    /// Whether JSON is printed rather than the table.
    pub(super) json: bool,
    /// Runs side by side.
    pub(super) at_once: usize,
}

impl Report<'_> {
    /// Runs all plans, prints their rows and writes the document; the rows.
    ///
    /// # Errors
    /// If threads cannot be started, or the document cannot be read or written, or has no place for the table.
    pub(super) fn make<P: Sync, R: Send + Serialize>(
        &self,
        plans: &[P],
        run: impl Fn(&P) -> R + Sync + Send,
        table: impl Fn(&[R]) -> String,
    ) -> anyhow::Result<Vec<R>> {
        crate::io::log_to_stderr("info");
        let page = self.write.map(|path| Page::open(path, self.place)).transpose()?;
        let rows = run_all(plans, self.at_once, run)?;
        let table = table(&rows);
        if self.json {
            say_json(&rows);
        } else {
            say(table.trim_end());
        }
        if let Some(page) = page {
            page.write(&table)?;
        }
        Ok(rows)
    }
}

/// A page that a table is written to.
struct Page {
    path: PathBuf,
    text: String,
    place: Place,
}

impl Page {
    /// Opens it and makes certain that it has a place for the table: the runs take long.
    ///
    /// # Errors
    /// If it cannot be read, or has no such place.
    fn open(path: &Path, place: Place) -> anyhow::Result<Self> {
        let unreadable = || format!("{} cannot be read; give a document that is there", path.display());
        let text = fs::read_to_string(path).with_context(unreadable)?;
        let no_place = || format!("{} has no lines `{}` and `{}`; add them", path.display(), place.begin, place.end);
        place.insert(&text, "").with_context(no_place)?;
        Ok(Self { path: path.to_owned(), text, place })
    }

    /// Writes it with this table.
    ///
    /// # Errors
    /// If it cannot be written.
    fn write(&self, table: &str) -> anyhow::Result<()> {
        let text = self.place.insert(&self.text, table).expect("it was opened with its place");
        fs::write(&self.path, text).with_context(|| format!("write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_place_for_the_table_is_refused_before_anything_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("page.md");
        let place = Place { begin: "<!-- begin -->", end: "<!-- end -->" };
        let refused = |path: &Path| Page::open(path, place).err().expect("refused").to_string();
        assert!(refused(&path).contains("cannot be read"), "it is not there");
        fs::write(&path, "# A page\n").expect("written");
        assert!(refused(&path).contains("add them"));
        fs::write(&path, "<!-- end -->\n<!-- begin -->\n").expect("written");
        assert!(refused(&path).contains("add them"), "the markers are in the wrong order");
        fs::write(&path, "<!-- begin -->\nold\n<!-- end -->\n").expect("written");
        Page::open(&path, place).expect("good").write("new\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "<!-- begin -->\nnew\n<!-- end -->\n");
    }

    #[test]
    fn rows_come_in_the_order_of_their_plans() {
        assert_eq!(run_all(&[3, 1, 2], 2, |plan| plan * 10).expect("threads"), [30, 10, 20]);
    }
}
