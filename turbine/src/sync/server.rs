//! Answers requests out of the ledger, within a budget.

use super::{
    config::{FRAME_BYTES_AIM, SyncConfig},
    effect::{Effect, LinkId, Load, LoadWhat, StoredBlock},
    refusal::Refusal,
    wire::Message,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use sundog_types::{Now, Slot};

/// Requests that one link may have open here: two ranges, as this node asks for itself, blocks in dispute, and some
/// that are wanted one by one. More: refused as [`Refusal::TooManyMessages`].
pub const OPEN_PER_LINK: usize = 8;
/// Reads from the ledger at a time: each may bring some 16 MB. The others wait.
pub const LOADS_MAX: usize = 8;
/// Time for which a request waits for the budget, shorter than the asker's patience. Then: [`Refusal::Busy`].
const WAIT: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug)]
struct Asked {
    link: LinkId,
    id: u64,
    what: LoadWhat,
    at: Now,
}

/// What a read came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) link: LinkId,
    pub(crate) messages: Vec<Message>,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

/// Requests of other nodes: those that wait, and those that are read.
#[derive(Debug)]
pub(crate) struct Server {
    bytes_per_second: u64,
    waiting: VecDeque<Asked>,
    loading: BTreeMap<u64, Asked>,
    next_id: u64,
    /// The moment up to which what was sent uses up the budget.
    spent: Option<Now>,
}

impl Server {
    pub(crate) fn new(config: &SyncConfig) -> Self {
        Self {
            bytes_per_second: config.served_bytes_per_second,
            waiting: VecDeque::new(),
            loading: BTreeMap::new(),
            next_id: 0,
            spent: None,
        }
    }

    /// Takes a request.
    pub(crate) fn ask(&mut self, now: Now, link: LinkId, id: u64, what: LoadWhat) -> Result<(), Refusal> {
        let open = self.waiting.iter().chain(self.loading.values()).filter(|asked| asked.link == link).count();
        if open >= OPEN_PER_LINK {
            return Err(Refusal::TooManyMessages);
        }
        self.waiting.push_back(Asked { link, id, what, at: now });
        Ok(())
    }

    fn has_budget(&self, now: Now) -> bool {
        self.spent.is_none_or(|spent| now.reached(spent))
    }

    /// Reads what may be read now.
    pub(crate) fn pump(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.loading.len() < LOADS_MAX && self.has_budget(now) {
            let Some(asked) = self.waiting.pop_front() else {
                return;
            };
            let id = self.next_id;
            self.next_id += 1;
            self.loading.insert(id, asked);
            out.push(Effect::Load(Load { id, what: asked.what }));
        }
    }

    /// Takes what was read and cuts it into messages.
    pub(crate) fn loaded(
        &mut self,
        now: Now,
        id: u64,
        blocks: Vec<StoredBlock>,
        (next, lowest): (Slot, Slot),
    ) -> Option<Answer> {
        let asked = self.loading.remove(&id)?;
        let bytes: u64 = blocks.iter().flat_map(|block| &block.shreds).map(|shred| shred.len() as u64).sum();
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        self.spent = Some(self.spent.map_or(now, |spent| spent.max(now)).after(Duration::from_micros(micros)));
        let end = match asked.what {
            LoadWhat::Range { from, count, .. } if next > from => next.min(from.saturating_add(count)),
            LoadWhat::Block { slot, .. } if !blocks.is_empty() => slot.saturating_add(1),
            LoadWhat::Range { .. } | LoadWhat::Block { .. } => {
                let messages = vec![Message::NotHeld { id: asked.id, lowest }];
                return Some(Answer { link: asked.link, messages, blocks: 0, bytes: 0 });
            }
        };
        let count = blocks.len() as u64;
        Some(Answer { link: asked.link, messages: cut(asked.id, blocks, end), blocks: count, bytes })
    }

    /// Forgets what a link asked for. What is being read for it is thrown away when it comes.
    pub(crate) fn gone(&mut self, link: LinkId) {
        self.waiting.retain(|asked| asked.link != link);
    }

    /// Links that waited for the budget too long.
    pub(crate) fn late(&self, now: Now) -> Vec<LinkId> {
        let late = self.waiting.iter().filter(|asked| now.reached(asked.at.after(WAIT)));
        let mut links: Vec<LinkId> = late.map(|asked| asked.link).collect();
        links.sort_unstable();
        links.dedup();
        links
    }

    pub(crate) fn deadline(&self, now: Now) -> Option<Now> {
        let first = self.waiting.front()?;
        let late = first.at.after(WAIT);
        let budget = self.spent.filter(|spent| !now.reached(*spent) && self.loading.len() < LOADS_MAX);
        Some(budget.map_or(late, |spent| spent.min(late)))
    }
}

/// Cuts an answer into messages of some 4 MB, blocks in the middle if they must be.
fn cut(id: u64, blocks: Vec<StoredBlock>, next: Slot) -> Vec<Message> {
    let (mut messages, mut part, mut bytes) = (Vec::new(), Vec::<StoredBlock>::new(), 0);
    for StoredBlock { slot, shreds } in blocks {
        part.push(StoredBlock { slot, shreds: Vec::new() });
        for shred in shreds {
            if bytes >= FRAME_BYTES_AIM {
                part.retain(|block| !block.shreds.is_empty());
                messages.push(Message::Blocks { id, blocks: std::mem::take(&mut part), next: slot, more: true });
                part.push(StoredBlock { slot, shreds: Vec::new() });
                bytes = 0;
            }
            bytes += shred.len();
            if let Some(block) = part.last_mut() {
                block.shreds.push(shred);
            }
        }
    }
    messages.push(Message::Blocks { id, blocks: part, next, more: false });
    messages
}
