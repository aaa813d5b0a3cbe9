//! The open links: who may open one, how much may come over it, and when it counts as dead.

use super::{config::SyncConfig, effect::LinkId, refusal::Refusal, wire::Held};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use sundog_types::{Now, Pubkey};

/// A link to another node.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) peer: Pubkey,
    pub(crate) address: SocketAddr,
    /// This node opened it, and asks; else the other one asks.
    pub(crate) dialed: bool,
    /// What the other side holds. `None`: it has not greeted yet.
    pub(crate) held: Option<Held>,
    /// This node asked it for peers and has no answer yet.
    pub(crate) asked_peers: bool,
    opened: Now,
    heard: Now,
    pinged: Now,
    /// The moment up to which the messages that came use up what is allowed.
    spent: Now,
}

/// What is due on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Silent,
    Ping,
}

/// All open links.
#[derive(Debug)]
pub(crate) struct Links {
    config: SyncConfig,
    links: BTreeMap<LinkId, Link>,
}

impl Links {
    pub(crate) fn new(config: SyncConfig) -> Self {
        Self { config, links: BTreeMap::new() }
    }

    /// Takes a link in. Those of others are counted: when there are too many, the newcomer is refused. Links that
    /// this node dials are bounded by what it dials.
    pub(crate) fn open(&mut self, now: Now, id: LinkId, link: (Pubkey, SocketAddr, bool)) -> Result<(), Refusal> {
        let (peer, address, dialed) = link;
        if !dialed {
            let others = self.links.values().filter(|link| !link.dialed);
            let here = others.clone().filter(|link| link.address.ip() == address.ip()).count();
            if here >= self.config.connections_per_address {
                return Err(Refusal::TooManyConnections);
            }
            if others.count() >= self.config.links_max {
                return Err(Refusal::LinksFull);
            }
        }
        let times = [now; 4];
        let [opened, heard, pinged, spent] = times;
        let link = Link { peer, address, dialed, held: None, asked_peers: false, opened, heard, pinged, spent };
        self.links.insert(id, link);
        Ok(())
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.links.remove(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// Links over which this node may ask for blocks.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (LinkId, &Link, Held)> {
        self.iter().filter(|(_, link)| link.dialed).filter_map(|(id, link)| Some((id, link, link.held?)))
    }

    /// Links that this node dialed, greeted or not.
    pub(crate) fn dialed(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.iter().filter(|(_, link)| link.dialed)
    }

    /// Counts a message: as many as a second allows may come at once.
    pub(crate) fn note_message(&mut self, now: Now, id: LinkId) -> Result<(), Refusal> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        let cost = Duration::from_secs(1) / self.config.messages_per_second;
        link.heard = now;
        link.spent = link.spent.max(now).after(cost);
        if link.spent.since(now) > Duration::from_secs(1) { Err(Refusal::TooManyMessages) } else { Ok(()) }
    }

    fn silent_at(&self, link: &Link) -> Now {
        match link.held {
            Some(_) => link.heard.after(self.config.silence),
            None => link.opened.after(self.config.handshake_timeout),
        }
    }

    fn ping_at(&self, link: &Link) -> Option<Now> {
        (link.dialed && link.held.is_some()).then(|| link.pinged.after(self.config.ping_every))
    }

    /// What is due by now. A ping that is due counts as sent.
    pub(crate) fn due(&mut self, now: Now) -> Vec<(LinkId, Due)> {
        let mut all = Vec::new();
        for (id, link) in &self.links {
            if now.reached(self.silent_at(link)) {
                all.push((*id, Due::Silent));
            } else if self.ping_at(link).is_some_and(|at| now.reached(at)) {
                all.push((*id, Due::Ping));
            }
        }
        for (id, due) in &all {
            if let Some(link) = self.links.get_mut(id).filter(|_| *due == Due::Ping) {
                link.pinged = now;
            }
        }
        all
    }

    /// When something is due next.
    pub(crate) fn deadline(&self) -> Option<Now> {
        let times = |link| [Some(self.silent_at(link)), self.ping_at(link)];
        self.links.values().flat_map(times).flatten().min()
    }
}
