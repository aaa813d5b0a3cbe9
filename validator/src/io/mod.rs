//! The shell: the only place with sockets, threads, clocks and files.

pub mod bucket;
pub mod capped;
pub mod chain;
pub mod client;
pub mod clock;
pub mod driver;
pub mod faults;
pub mod feed;
pub mod files;
pub mod history;
pub mod http;
pub mod ip_echo;
pub mod joining;
pub mod known_peers;
pub mod lanes;
pub mod metric_names;
pub mod metrics;
pub mod pace;
pub mod port_claim;
pub mod pushes;
pub mod quic;
pub mod recorder;
pub mod shreds;
pub mod signals;
pub mod sockets;
pub mod spy;
pub mod standing;
pub mod storage;
pub mod store;
pub mod sync;
pub mod tls;
pub mod tower_file;
pub mod traffic;
pub mod udp;
pub mod validator;
pub mod watch;
pub mod workers;

/// Writes the log to standard error; `RUST_LOG` beats the default filter.
pub fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr);
    let _ = subscriber.try_init();
}
