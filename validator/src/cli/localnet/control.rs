//! How the other verbs reach the process that runs the cluster: one JSON line each way on loopback.

use super::Layout;
use crate::io::faults::{Flow, Treatment};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

/// A request line is short; a longer one is not ours.
const LINE_BYTES_MAX: u64 = 4_096;
/// Requests that wait for the localnet; who asks beyond them waits for a place.
const REQUESTS_MAX: usize = 16;
/// How long either side waits for a line.
const WAIT: Duration = Duration::from_secs(60);

/// What is to happen on a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkOrder {
    /// The two nodes.
    pub ends: (usize, usize),
    /// Only what the first sends to the second.
    pub one_way: bool,
    /// In which protocols; in all if none is named.
    pub protocols: Vec<Flow>,
    /// What happens.
    pub treatment: Treatment,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verb")]
pub enum Request {
    /// Kill a node.
    Kill {
        /// Which.
        node: usize,
    },
    /// Stop a node cleanly.
    Stop {
        /// Which.
        node: usize,
    },
    /// Start a node again.
    Restart {
        /// Which.
        node: usize,
    },
    /// Stop all nodes, and start them from one block on another shred version.
    HardFork {
        /// The block's slot; the newest that is safe, if none is given.
        slot: Option<u64>,
    },
    /// Halt a node's process.
    Pause {
        /// Which.
        node: usize,
    },
    /// Let a halted node go on.
    Resume {
        /// Which.
        node: usize,
    },
    /// Part the network.
    Partition {
        /// The groups.
        groups: Vec<Vec<usize>>,
    },
    /// Mend the network.
    Heal,
    /// Treat what is sent on a link.
    Link(LinkOrder),
    /// Add a node without stake.
    Add,
    /// Stop everything.
    Down,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// What was done, or why not.
    pub message: String,
}

/// `control.json`.
#[derive(Serialize, Deserialize)]
struct Door {
    port: u16,
    /// Only who can read the file may act.
    token: String,
    pid: u32,
}

#[derive(Serialize, Deserialize)]
struct Knock {
    token: String,
    request: Request,
}

/// A request with the way back to who asked.
pub struct Asked {
    /// The request.
    pub request: Request,
    stream: TcpStream,
}

impl Asked {
    /// Answers. The answer has left when this returns, so that the process may end.
    pub fn answer(self, answer: &Answer) {
        reply(&self.stream, answer);
    }
}

/// Listens for requests until the process ends.
///
/// # Errors
/// If no port or file can be had.
pub fn listen(layout: &Layout) -> anyhow::Result<Receiver<Asked>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the control connection")?;
    let token = solana_keypair::Keypair::new().to_base58_string();
    let door = Door { port: listener.local_addr()?.port(), token: token.clone(), pid: std::process::id() };
    crate::io::files::write_json(&layout.control(), &door)?;
    let (asked, requests) = sync_channel(REQUESTS_MAX);
    std::thread::Builder::new().name("control".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let (asked, token) = (asked.clone(), token.clone());
            let _ = std::thread::Builder::new().name("control".into()).spawn(move || serve(stream, &token, &asked));
        }
    })?;
    Ok(requests)
}

fn serve(stream: TcpStream, token: &str, asked: &SyncSender<Asked>) {
    let _ = stream.set_read_timeout(Some(WAIT));
    let _ = stream.set_write_timeout(Some(WAIT));
    let mut line = String::new();
    if BufReader::new(&stream).take(LINE_BYTES_MAX).read_line(&mut line).is_err() {
        return;
    }
    match serde_json::from_str::<Knock>(&line) {
        Ok(knock) if knock.token == token => {
            let _ = asked.send(Asked { request: knock.request, stream });
        }
        _ => {
            let message = "wrong token: control.json belongs to another run".into();
            reply(&stream, &Answer { ok: false, message });
        }
    }
}

fn reply(mut stream: &TcpStream, answer: &Answer) {
    let mut text = serde_json::to_vec(answer).expect("an answer serialises");
    text.push(b'\n');
    let _ = stream.write_all(&text);
}

/// Asks the process that runs the cluster.
///
/// # Errors
/// If no such process answers, or it refuses.
pub fn ask(layout: &Layout, request: &Request) -> anyhow::Result<String> {
    let absent = || {
        format!("no localnet runs in {}; start one with `sundog localnet`, or name its --dir", layout.dir().display())
    };
    let door: Door =
        serde_json::from_slice(&std::fs::read(layout.control()).with_context(absent)?).with_context(absent)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, door.port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(absent)?;
    stream.set_read_timeout(Some(WAIT))?;
    let mut text = serde_json::to_vec(&Knock { token: door.token, request: request.clone() })?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream).take(LINE_BYTES_MAX).read_line(&mut line).context("the localnet gave no answer")?;
    let answer: Answer = serde_json::from_str(&line).context("the localnet gave no answer; it may just have ended")?;
    if !answer.ok {
        bail!("{}", answer.message);
    }
    Ok(answer.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_and_a_stranger_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(directory.path());
        assert!(ask(&layout, &Request::Down).is_err(), "nobody runs here");
        let requests = listen(&layout).expect("listens");
        let owner = std::thread::spawn(move || {
            let asked = requests.recv().expect("a request");
            let message = format!("{:?}", asked.request);
            asked.answer(&Answer { ok: true, message });
        });
        assert_eq!(ask(&layout, &Request::Kill { node: 2 }).expect("answered"), "Kill { node: 2 }");
        owner.join().expect("no panic");
        let mut door: Door = serde_json::from_slice(&std::fs::read(layout.control()).unwrap()).unwrap();
        door.token = "guess".into();
        crate::io::files::write_json(&layout.control(), &door).unwrap();
        let refused = ask(&layout, &Request::Down).unwrap_err();
        assert!(refused.to_string().contains("wrong token"), "{refused}");
    }
}
