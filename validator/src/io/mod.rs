//! The shell: the only place with sockets, threads, clocks and files.

pub mod chain;
pub mod client;
pub mod clock;
pub mod driver;
pub mod feed;
pub mod files;
pub mod history;
pub mod http;
pub mod lanes;
pub mod metric_names;
pub mod metrics;
pub mod pace;
pub mod quic;
pub mod recorder;
pub mod signals;
pub mod storage;
pub mod store;
pub mod tls;
pub mod tower_file;
pub mod traffic;
pub mod udp;
pub mod validator;
