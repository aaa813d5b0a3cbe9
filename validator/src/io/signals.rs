//! Requests of the system to end.

/// Waits for Ctrl-C or, on Unix, for a request to terminate.
///
/// # Errors
/// If the system does not let the process listen for signals.
pub async fn asked_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// [`asked_to_end`] for a thread outside any runtime.
///
/// # Errors
/// As there.
pub fn wait() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asked_to_end())
}
