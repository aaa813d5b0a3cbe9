//! What a world's network and clocks suffer, by name.

use super::{Network, World};

impl World {
    /// Parts the network: machines of different groups do not reach each other, on any path. Machines that are in no
    /// group are one more. No groups: everybody reaches everybody, but for what is cut one way.
    pub fn part(&mut self, groups: &[&[usize]]) {
        self.cuts.part(groups);
        self.close_cut_links();
    }

    /// From now on nothing that `from` sends reaches `to`, on any path. What needs an answer to begin does not begin
    /// between the two: neither fetches blocks in bulk from the other or forwards transactions to it.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cuts.cut(from, to);
        self.close_cut_links();
    }

    /// Ends all cuts.
    pub fn heal(&mut self) {
        self.cuts.heal();
    }

    fn close_cut_links(&mut self) {
        let cuts = &self.cuts;
        for link in self.links.between(|[one, other]| !cuts.connects(*one, *other)) {
            self.close_link(link);
        }
    }

    /// What datagrams suffer from now on.
    pub const fn set_network(&mut self, network: Network) {
        self.config.network = network;
    }

    /// Sets a machine's wall clock wrong by so many milliseconds; 0 sets it right. When it goes forward by that, the
    /// monotonic clock does too, as in a machine that slept for so long.
    pub fn skew(&mut self, host: usize, ms: i64) {
        self.hosts[host].clock.skew(ms);
        self.settle(host, Vec::new());
    }

    /// Has a machine's recorder hash at so many percent of the speed that is due.
    pub fn poh_rate(&mut self, host: usize, percent: u32) {
        self.hosts[host].clock.set_poh(percent);
        self.settle(host, Vec::new());
    }
}
