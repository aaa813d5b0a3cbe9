//! What an operator should know: troubles that gossip notices and cannot mend.

use crate::clocks::ClockOff;
use std::{fmt, net::SocketAddr, time::Duration};
use sundog_types::Now;

/// A trouble of one kind is told at most this often.
pub const TELL_EVERY: Duration = Duration::from_secs(60);

sundog_types::reasons! {
    /// Kinds of trouble.
    pub enum TroubleKind {
        /// This machine's clock is off.
        Clock = "clock",
        /// A node that matters to us is on another chain.
        ShredVersion = "shred_version",
        /// No entrypoint answers.
        Entrypoints = "entrypoints",
    }
}

/// Something that keeps this node apart from others. Its text says what happened and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This machine's clock is off.
    ClockOff(ClockOff),
    /// An entrypoint, or a node with stake on our chain, says that it is on another chain.
    OtherShredVersion {
        /// Where its gossip listens.
        address: SocketAddr,
        /// The shred version it says.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// No entrypoint answers, and nobody else is known.
    EntrypointsSilent {
        /// How many entrypoints there are.
        entrypoints: usize,
        /// For how long.
        silent: Duration,
        /// Peers of an earlier life that are asked instead.
        known: usize,
    },
}

impl Trouble {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> TroubleKind {
        match self {
            Self::ClockOff(_) => TroubleKind::Clock,
            Self::OtherShredVersion { .. } => TroubleKind::ShredVersion,
            Self::EntrypointsSilent { .. } => TroubleKind::Entrypoints,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockOff(ClockOff { by_ms, say_so, heard_from }) => {
                let tenths = by_ms.unsigned_abs().div_ceil(100);
                let way = if *by_ms > 0 { "ahead of" } else { "behind" };
                write!(
                    f,
                    "this machine's clock is {}.{} s {way} the clocks of {say_so} of {heard_from} peers, which refuse what it says; set it with NTP",
                    tenths / 10,
                    tenths % 10
                )
            }
            Self::OtherShredVersion { address, theirs, ours } => write!(
                f,
                "the node at {address} has shred version {theirs}, this one {ours}: most likely one of the two missed a restart of the cluster with a hard fork; start the one on the old version with --hard-fork and the slot that the operators agreed on; or it has another genesis: give this node the genesis and the settings of the cluster that it is to join, or another entrypoint"
            ),
            Self::EntrypointsSilent { entrypoints, silent, known } => {
                let seconds = silent.as_secs();
                write!(f, "no entrypoint of {entrypoints} has answered for {seconds} s and no peer is known; ")?;
                if *known > 0 {
                    write!(f, "{known} peers of an earlier run are asked instead; ")?;
                }
                write!(f, "check that one runs at the address given, and that UDP gets there and back")
            }
        }
    }
}

/// When each kind was told last.
#[derive(Default)]
pub struct Told([Option<Now>; TroubleKind::COUNT]);

impl Told {
    /// Whether a trouble of this kind may be told now; counts the telling.
    pub fn tell(&mut self, now: Now, kind: TroubleKind) -> bool {
        let last = &mut self.0[kind as usize];
        let due = last.is_none_or(|at| now.since(at) >= TELL_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_a_minute_each_kind_for_itself() {
        let mut told = Told::default();
        let at = |seconds: u64| Now { mono_us: seconds * 1_000_000, unix_ms: 0 };
        assert!(told.tell(at(0), TroubleKind::Clock));
        assert!(!told.tell(at(59), TroubleKind::Clock));
        assert!(told.tell(at(59), TroubleKind::Entrypoints));
        assert!(told.tell(at(60), TroubleKind::Clock));
    }

    #[test]
    fn the_text_says_which_way_the_clock_is_off() {
        let off = |by_ms| Trouble::ClockOff(ClockOff { by_ms, say_so: 3, heard_from: 4 }).to_string();
        assert!(off(21_250).contains("21.3 s ahead of the clocks of 3 of 4 peers"), "{}", off(21_250));
        assert!(off(-15_001).contains("15.1 s behind the clocks of 3 of 4 peers"), "{}", off(-15_001));
        assert!(off(i64::MIN).contains("NTP"));
    }
}
