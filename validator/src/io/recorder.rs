//! The Proof of History thread: it hashes while the node leads, and sleeps otherwise.

use super::{clock::Clock, lanes::Lanes, watch::Watch};
use crate::node::Input;
use flume::{Receiver, RecvTimeoutError, Sender, bounded};
use std::time::Duration;
use sundog_poh::{Recorder, RecorderInput};
use sundog_types::Machine as _;

/// Commands that wait for the thread: the node has one record under way at a time, and starts and stops it a few
/// times a second.
const COMMANDS_MAX: usize = 1_024;
/// How long it sleeps when it has nothing to do, so that it notices the node's end.
const ASLEEP: Duration = Duration::from_secs(3_600);

/// Starts the thread; it ends when the returned sender is dropped.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(
    mut recorder: Recorder,
    clock: Clock,
    lanes: Lanes,
    watch: Watch,
) -> std::io::Result<Sender<RecorderInput>> {
    let (sender, commands) = bounded(COMMANDS_MAX);
    std::thread::Builder::new().name("poh".into()).spawn(move || {
        run(&mut recorder, clock, &lanes, &commands);
        drop(watch);
    })?;
    Ok(sender)
}

fn run(recorder: &mut Recorder, clock: Clock, lanes: &Lanes, commands: &Receiver<RecorderInput>) {
    let mut effects = Vec::new();
    loop {
        let wait = recorder.poll_timeout().map_or(ASLEEP, |due| due.since(clock.now()));
        match commands.recv_timeout(wait) {
            Ok(command) => recorder.handle(clock.now(), command, &mut effects),
            Err(RecvTimeoutError::Timeout) => recorder.handle_timeout(clock.now(), &mut effects),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for effect in effects.drain(..) {
            if !lanes.answer(Input::Poh(effect)) {
                return;
            }
        }
    }
}
