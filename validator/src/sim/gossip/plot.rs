//! Rows as a picture.

use super::Row;

/// A plot as SVG.
#[must_use]
pub fn plot(rows: &[Row]) -> String {
    let _ = rows;
    String::new()
}
