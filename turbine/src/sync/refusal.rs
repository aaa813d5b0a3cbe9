//! Why a link is refused, by name.

use std::fmt;

sundog_types::reasons! {
    /// Why a node ends a link. The reason goes to the other side in a last frame, and is counted.
    ///
    /// A reason's place in this list is its tag on the wire: add at the end only.
    pub enum Refusal {
        /// The other side speaks another version of this protocol.
        OtherProtocol = "other_protocol",
        /// The other side is on a chain with another genesis.
        OtherGenesis = "other_genesis",
        /// The other side is on a chain with another shred version (reference 3.11).
        OtherShredVersion = "other_shred_version",
        /// A frame, or an answer of several frames, is longer than may be.
        FrameTooLarge = "frame_too_large",
        /// More messages a second than may be.
        TooManyMessages = "too_many_messages",
        /// More links from one address than may be.
        TooManyConnections = "too_many_connections",
        /// As many links as may be are open.
        LinksFull = "links_full",
        /// Bytes that are no message, or a message whose fields cannot be.
        Malformed = "malformed",
        /// A message that does not belong here: before the greeting, not asked for, or of the other role.
        Unexpected = "unexpected",
        /// No greeting, no answer or no sign of life in time.
        Silent = "silent",
        /// A block that is not on the chain: forged, cut, unlinked, dead; or one that is claimed but not given.
        WrongBlock = "wrong_block",
        /// More is asked of this node than it can give now; come back later.
        Busy = "busy",
        /// The other side is not the node that was dialed.
        NotIdentified = "not_identified",
    }
}

impl Refusal {
    /// The reason with this place in the list.
    #[must_use]
    pub fn from_tag(tag: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(tag).ok()?).copied()
    }

    /// Its place in the list.
    #[must_use]
    pub const fn tag(self) -> u32 {
        self as u32
    }

    /// Whether the two nodes can never work together as they are set up.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::OtherProtocol | Self::OtherGenesis | Self::OtherShredVersion)
    }

    /// Whether it says that the other side has no room, not that anybody did wrong.
    #[must_use]
    pub const fn is_lack_of_room(self) -> bool {
        matches!(self, Self::TooManyConnections | Self::LinksFull | Self::Busy)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
