//! A vote that does not land is sent again: the same promise under a newer blockhash (reference 8.5).

use super::{Consensus, MAX_LANDING_BLOCKS};
use crate::block::Effect;
use sundog_types::{Effects, Now, Slot};

/// So many blocks after the one whose blockhash a vote's transaction names, it is taken for lost: at least four leaders
/// could have had it.
const EXPIRING_BLOCKS: u64 = 16;

impl Consensus {
    /// The tip to send the last vote on again, if that vote is missing there and its transaction about to expire.
    ///
    /// The heaviest block on the last vote's fork is where the vote is looked for. The heaviest of all may be on a fork
    /// that everybody is bound not to vote for, and then only votes that land on this one end the waiting. Unlike the
    /// reference, a node none of whose votes ever landed sends its last one again too.
    fn expiring(&self) -> Option<(Slot, Slot)> {
        let last = self.last_vote()?;
        let standing = self.choice.get(&self.last_vote_key()?)?;
        let tip = if standing.is_candidate() { standing.best.0 } else { standing.deepest.0 };
        self.tower.last_vote().filter(|_| tip > last && self.diverged.is_none())?;
        let missing = self.landed_in(tip).is_none_or(|landed| landed < last);
        let blocks = |from: Slot| self.height(tip).saturating_sub(self.height(from));
        let fresh = self
            .sent_on
            .is_some_and(|sent| (sent == tip || self.forks.is_ancestor(sent, tip)) && blocks(sent) <= EXPIRING_BLOCKS);
        (missing && !fresh && blocks(last) <= MAX_LANDING_BLOCKS).then_some((tip, last))
    }

    /// Sends the last vote again if it is time, or notes when it will be.
    pub(super) fn refresh(&mut self, now: Now, out: &mut Effects<Effect>) {
        let since = *self.refreshed.get_or_insert(now);
        self.refresh_at = None;
        let Some((tip, last)) = self.expiring().filter(|_| self.pending.is_none()) else {
            return;
        };
        let due = since.after(self.config.refresh_after);
        if !now.reached(due) {
            self.refresh_at = Some(due);
            return;
        }
        let Some(vote) = self.tower.refresh() else {
            return;
        };
        self.refreshed = Some(now);
        self.sent_on = Some(tip);
        self.metrics.refreshed += 1;
        out.push(Effect::Vote { vote, blockhash_of: tip, last_slot: last });
    }
}
