//! The one place where bytes of the gossip socket become trusted: decode, check bounds, verify signatures.
//!
//! Pure, so that it runs on a pool of threads: what the verifier remembers changes no answer.

use crate::{
    metrics::DropReason,
    wire::{
        Protocol,
        codec::DecodeError,
        kinds::{LowestSlot, SnapshotHashes},
        retired::RetiredKind,
        slots::{Bitmap, CompressedSlots, SLOTS_PER_PART},
        value::{CrdsData, CrdsValue},
    },
};
use sundog_types::{kernel::ed25519::Check, sign::Verifier};

/// Wallclocks and slots from the wire are below this.
pub const BOUND: u64 = 1_000_000_000_000_000;

/// Places for votes that are accepted of one origin; a publisher uses fewer.
pub const VOTE_PLACES: u8 = 32;

/// Places for epoch slots of one origin.
pub const EPOCH_SLOTS_PLACES: u8 = 255;

/// Places for chunks of duplicate proofs of one origin.
pub const DUPLICATE_PLACES: u16 = 512;

/// A message whose bounds and signatures hold. Only [`check`] makes it, and [`crate::known::Known`] for worlds.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) message: Protocol,
}

impl Checked {
    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Protocol {
        &self.message
    }
}

/// A bound or an inner rule that a decoded message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SanitiseError {
    /// A number is too large.
    #[error("a number is out of bounds; drop the datagram")]
    OutOfBounds,
    /// Parts do not belong together.
    #[error("parts of the message contradict each other; drop the datagram")]
    Invalid,
}

impl From<DecodeError> for DropReason {
    fn from(_: DecodeError) -> Self {
        Self::Undecodable
    }
}

impl From<SanitiseError> for DropReason {
    fn from(_: SanitiseError) -> Self {
        Self::OutOfBounds
    }
}

/// Decodes a datagram, checks bounds, drops values of retired kinds, and verifies every signature left.
///
/// # Errors
/// [`DropReason::Undecodable`], [`DropReason::OutOfBounds`], [`DropReason::NothingLeft`] or
/// [`DropReason::BadSignature`].
pub fn check(bytes: &[u8]) -> Result<Checked, DropReason> {
    check_with(bytes, &Verifier::without_memory())
}

/// As [`check`], with a verifier that may remember.
///
/// # Errors
/// As there.
pub fn check_with(bytes: &[u8], verifier: &Verifier) -> Result<Checked, DropReason> {
    check_all(&[bytes], verifier).pop().expect("an answer for the datagram")
}

/// As [`check_with`], for many: the signatures of their values are verified side by side, each by itself.
#[must_use]
pub fn check_all<B: AsRef<[u8]>>(datagrams: &[B], verifier: &Verifier) -> Vec<Result<Checked, DropReason>> {
    let read: Vec<_> = datagrams.iter().map(|bytes| read(bytes.as_ref())).collect();
    let values = || read.iter().flatten().flat_map(values_of);
    let signed: Vec<_> = values().map(|value| (value.origin(), value.signature())).collect();
    let checks: Vec<_> = values()
        .zip(&signed)
        .map(|(value, (signer, signature))| Check { signer, message: value.signed_bytes(), signature })
        .collect();
    let mut answers = verifier.holds_all(&checks).into_iter();
    let judge = |message: Result<Protocol, DropReason>| {
        let message = message?;
        // All of its answers are taken, also after one that says no.
        let own = answers.by_ref().take(values_of(&message).len());
        let signed = own.fold(true, |all, holds| all & holds) && message_signed(&message, verifier);
        if signed { Ok(Checked { message }) } else { Err(DropReason::BadSignature) }
    };
    read.into_iter().map(judge).collect()
}

/// All but the signatures.
fn read(bytes: &[u8]) -> Result<Protocol, DropReason> {
    let mut message = Protocol::decode(bytes)?;
    sanitise(&message)?;
    values_of(&message).iter().try_for_each(|value| sanitise_data(value.data()))?;
    drop_retired(&mut message)?;
    Ok(message)
}

fn values_of(message: &Protocol) -> &[CrdsValue] {
    match message {
        Protocol::PullRequest(_, caller) => std::slice::from_ref(&**caller),
        Protocol::PullResponse(_, values) | Protocol::PushMessage(_, values) => values,
        Protocol::PruneMessage(..) | Protocol::PingMessage(_) | Protocol::PongMessage(_) => &[],
    }
}

/// Leaves out values of retired kinds.
pub(crate) fn drop_retired(message: &mut Protocol) -> Result<(), DropReason> {
    if let Protocol::PullResponse(_, values) | Protocol::PushMessage(_, values) = message {
        values.retain(|value| !matches!(value.data(), CrdsData::Retired(_)));
        if values.is_empty() {
            return Err(DropReason::NothingLeft);
        }
    }
    Ok(())
}

/// Whether the signatures of the message itself hold; those of its values are not looked at.
pub(crate) fn message_signed(message: &Protocol, verifier: &Verifier) -> bool {
    match message {
        Protocol::PullRequest(..) | Protocol::PullResponse(..) | Protocol::PushMessage(..) => true,
        Protocol::PruneMessage(_, prune) => prune.verify(verifier),
        Protocol::PingMessage(ping) => verifier.holds_once(&ping.from, &ping.token, &ping.signature),
        Protocol::PongMessage(pong) => verifier.holds_once(&pong.from, pong.hash.as_ref(), &pong.signature),
    }
}

/// Checks the bounds of a message; those of its values' content are not looked at.
pub(crate) fn sanitise(message: &Protocol) -> Result<(), SanitiseError> {
    match message {
        Protocol::PullRequest(filter, caller) => {
            require(!filter.bloom.bits().is_empty())?;
            let contact = match caller.data() {
                CrdsData::ContactInfo(_) => true,
                CrdsData::Retired(value) => value.kind == RetiredKind::LegacyContactInfo,
                _ => false,
            };
            require(contact)
        }
        Protocol::PruneMessage(from, prune) => {
            require(*from == prune.pubkey)?;
            bounded(prune.wallclock)
        }
        Protocol::PullResponse(..)
        | Protocol::PushMessage(..)
        | Protocol::PingMessage(_)
        | Protocol::PongMessage(_) => Ok(()),
    }
}

/// Checks the bounds of one value's content (reference 6.2 to 6.5).
///
/// # Errors
/// [`SanitiseError`] naming what is broken.
pub fn sanitise_data(data: &CrdsData) -> Result<(), SanitiseError> {
    bounded(data.wallclock())?;
    match data {
        CrdsData::Vote(index, _) => place(*index < VOTE_PLACES), // its transaction was looked at when it was read
        CrdsData::LowestSlot(index, value) => {
            place(*index == 0)?;
            lowest_slot(value)
        }
        CrdsData::EpochSlots(index, value) => {
            place(*index < EPOCH_SLOTS_PLACES)?;
            value.parts.iter().try_for_each(epoch_slots_part)
        }
        CrdsData::DuplicateShred(index, value) => {
            place(*index < DUPLICATE_PLACES)?;
            place(value.chunk_index < value.num_chunks)
        }
        CrdsData::SnapshotHashes(value) => snapshot_hashes(value),
        CrdsData::Retired(value) => bounded(value.highest_slot),
        CrdsData::ContactInfo(_) | CrdsData::RestartLastVotedForkSlots(_) | CrdsData::RestartHeaviestFork(_) => Ok(()),
    }
}

fn lowest_slot(value: &LowestSlot) -> Result<(), SanitiseError> {
    bounded(value.lowest)?;
    require(value.root == 0 && value.slots.is_empty() && value.stash.is_empty())
}

fn epoch_slots_part(part: &CompressedSlots) -> Result<(), SanitiseError> {
    bounded(part.first_slot)?;
    place(part.count < SLOTS_PER_PART)?;
    match &part.bitmap {
        Bitmap::Deflated(_) => Ok(()),
        Bitmap::Plain(bits) => place(bits.len() == bits.room()),
    }
}

fn snapshot_hashes(value: &SnapshotHashes) -> Result<(), SanitiseError> {
    bounded(value.full.0)?;
    value.incremental.iter().try_for_each(|(slot, _)| {
        bounded(*slot)?;
        require(*slot > value.full.0)
    })
}

fn bounded(number: u64) -> Result<(), SanitiseError> {
    place(number < BOUND)
}

const fn place(inside: bool) -> Result<(), SanitiseError> {
    if inside { Ok(()) } else { Err(SanitiseError::OutOfBounds) }
}

const fn require(holds: bool) -> Result<(), SanitiseError> {
    if holds { Ok(()) } else { Err(SanitiseError::Invalid) }
}
