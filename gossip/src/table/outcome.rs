//! What becomes of a value that is offered to the table.

use crate::{
    metrics::DropReason,
    wire::value::{CrdsData, CrdsValue, Kind},
};

/// What became of an offered value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// Taken: the first with its label.
    New,
    /// Taken: it took the place of an older one with its label, whose hash stays in the pull filters for a while.
    Newer,
    /// Not taken: it is the very value that is kept.
    Duplicate,
    /// Not taken: what is kept with its label is newer. A contact info is newer than one of an earlier start of its
    /// node; of the same start, and of other values, the one with the later wallclock is; and of two with the same
    /// wallclock the one with the greater hash, so that all nodes keep the same.
    Stale,
    /// Not taken: the table is full, and no node in it has less stake than this value's origin; or the origin has no
    /// stake and as many values as such a node may.
    Full,
    /// Not taken: of a kind that nobody keeps any more. [`crate::check()`] drops such values before.
    Retired,
}

impl Offered {
    /// What becomes of `new` where `kept` is kept under its label.
    pub(super) fn compare(new: &CrdsValue, kept: Option<&CrdsValue>) -> Self {
        if matches!(new.data(), CrdsData::Retired(_)) {
            return Self::Retired;
        }
        debug_assert!(kept.is_none_or(|kept| kept.label() == new.label() && kept.label().kind != Kind::Retired));
        match kept {
            None => Self::New,
            Some(kept) if kept.hash() == new.hash() => Self::Duplicate,
            Some(kept) if rank(new) > rank(kept) => Self::Newer,
            Some(_) => Self::Stale,
        }
    }

    /// Whether the value is in the table now.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::New | Self::Newer)
    }

    /// Why the value was not taken, for the counters.
    #[must_use]
    pub const fn refusal(self) -> Option<DropReason> {
        match self {
            Self::New | Self::Newer => None,
            Self::Duplicate => Some(DropReason::Duplicate),
            Self::Stale => Some(DropReason::Stale),
            Self::Full => Some(DropReason::TableFull),
            Self::Retired => Some(DropReason::NothingLeft),
        }
    }
}

/// Of two values with one label the one with the greater rank is newer.
fn rank(value: &CrdsValue) -> (u64, u64, &[u8]) {
    let outset = value.contact().map_or(0, |contact| contact.outset);
    (outset, value.wallclock(), value.hash().as_ref())
}
