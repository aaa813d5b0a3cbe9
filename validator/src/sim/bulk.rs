//! What bulk sync asks of the world: links, and what goes through them.

use super::{Port, World, links::End, world::Happening};
use crate::node::Input;
use solana_signer::Signer as _;
use sundog_turbine::sync::{self, LinkId};
use sundog_types::Now;

impl World {
    /// Carries out what bulk sync asks of its links.
    pub(super) fn sync(&mut self, host: usize, effect: sync::Effect) {
        let delay = self.draw_delay();
        let due = self.now.after(delay);
        match effect {
            sync::Effect::Dial { peer, address } => {
                let there = Port::resolve(address).map(|(host, _)| host).filter(|to| *to < self.hosts.len());
                let alive = there.filter(|to| self.hosts[*to].node.is_some() && self.cuts.connects(host, *to));
                let Some(to) = alive.filter(|to| self.hosts[*to].identity.pubkey() == peer) else {
                    return self.deliver(host, delay, Input::Sync(sync::Input::DialFailed { peer, address }));
                };
                let ends = [host, to].map(|host| (host, self.hosts[host].life));
                let (here, far) = self.links.open(due, ends);
                let opened = |link, peer, address, dialed| sync::Input::Opened { link, peer, address, dialed };
                self.deliver(host, delay, Input::Sync(opened(here, peer, address, true)));
                let from = Port::ServeRepair.address(host);
                let me = self.hosts[host].identity.pubkey();
                self.deliver(to, delay, Input::Sync(opened(far, me, from, false)));
            }
            sync::Effect::Send { link, frame } => {
                let fault = self.hosts[host].sync_fault;
                let Some(frame) = fault.map_or(Some(frame.clone()), |fault| fault.tamper(frame)) else { return };
                if let Some((link, end, at)) = self.links.send(link, due) {
                    self.deliver_link(end, at, sync::Input::Frame { link, bytes: frame });
                }
            }
            sync::Effect::Close { link } => self.close_link(link),
            _ => {}
        }
    }

    pub(super) fn close_link(&mut self, link: LinkId) {
        let due = self.now.after(self.draw_delay());
        for (link, end, at) in self.links.close(link, due) {
            self.deliver_link(end, at, sync::Input::Closed { link });
        }
    }

    fn deliver_link(&mut self, end: End, at: Now, input: sync::Input) {
        let delay = at.since(self.now);
        self.push(delay, Happening::Deliver { host: end.host, life: end.life, input: Input::Sync(input) });
    }
}
