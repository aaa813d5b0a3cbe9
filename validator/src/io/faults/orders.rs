//! Rules from whoever started the node, a line at a time.

use super::{
    Faults,
    rules::{LINE_BYTES_MAX, Rules},
};
use std::io::{self, BufRead, Read as _};

/// Follows the orders of a reader until it ends. A line that is no order is logged and changes nothing; one that is longer
/// than orders are ends the reading of orders, but not the waiting for the reader's end.
///
/// # Errors
/// If reading fails.
pub fn follow(faults: &Faults, mut orders: impl BufRead) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        let length = orders.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        if length == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            tracing::error!("an order of faults is longer than {LINE_BYTES_MAX} bytes; no further order is followed");
            io::copy(&mut orders, &mut io::sink())?;
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        match Rules::read(line.trim_end()).and_then(|rules| faults.set(&rules)) {
            Ok(()) => tracing::info!(order = faults.order(), "fault rules replaced"),
            Err(error) => tracing::error!("an order of faults is not followed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn good_lines_are_followed_bad_ones_skipped_and_endless_ones_end_it() {
        let faults = Faults::on(&Rules::default()).expect("good rules");
        let line = |order| format!("{{\"order\":{order},\"peers\":[]}}\n");
        let text = [&line(1), "nonsense\n", "\n", &line(2)].concat();
        follow(&faults, text.as_bytes()).expect("read");
        assert_eq!(faults.order(), Some(2));
        let text = [&"x".repeat(LINE_BYTES_MAX + 1), "\n", &line(3)].concat();
        follow(&faults, text.as_bytes()).expect("read");
        assert_eq!(faults.order(), Some(2), "nothing after an endless line is an order");
        follow(&Faults::off(), line(4).as_bytes()).expect("read");
    }
}
