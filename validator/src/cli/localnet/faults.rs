//! Breaking a running localnet's network, and halting its nodes.

use super::{
    control::LinkOrder,
    network::{Link, Place},
    up::Localnet,
};
use crate::io::{
    client::Client,
    faults::{Flow, Treatment},
};
use anyhow::{Context as _, bail};
use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long a node may take to follow new rules.
const FOLLOW_WAIT: Duration = Duration::from_secs(10);
/// How often a node is asked whether it follows them.
const ASK_EVERY: Duration = Duration::from_millis(10);

impl Localnet<'_> {
    /// Parts the nodes into groups that hear nothing of each other.
    ///
    /// # Errors
    /// If there is no fault injection, the groups are none, or a node does not follow.
    pub fn part(&mut self, groups: &[Vec<usize>]) -> anyhow::Result<String> {
        self.needs_faults()?;
        self.cluster.network.part(groups, self.running.len())?;
        self.spread()?;
        let groups = self.cluster.network.parted(self.running.len()).unwrap_or_default();
        Ok(format!("parted: {groups}; `sundog localnet heal` joins them again"))
    }

    /// Mends every link.
    ///
    /// # Errors
    /// If there is no fault injection, or a node does not follow.
    pub fn heal(&mut self) -> anyhow::Result<String> {
        self.needs_faults()?;
        self.cluster.network.heal();
        self.spread()?;
        Ok("every node hears every other again".into())
    }

    /// Treats what is sent on a link.
    ///
    /// # Errors
    /// If there is no fault injection, a node is not there, a number is out of its range, or a node does not follow.
    pub fn link(&mut self, order: &LinkOrder) -> anyhow::Result<String> {
        self.needs_faults()?;
        let (a, b) = order.ends;
        for node in [a, b] {
            self.exists(node)?;
        }
        if a == b {
            bail!("node {a} has no link to itself; name two nodes");
        }
        order.treatment.validate()?;
        let only_block = Treatment { block: order.treatment.block, ..Treatment::default() };
        if order.protocols == [Flow::Sync] && order.treatment != only_block {
            bail!(
                "bulk sync runs over TCP, which does not feel lost or late packets; give it --block, or another --protocol"
            );
        }
        let ways: &[(usize, usize)] = if order.one_way { &[(a, b)] } else { &[(a, b), (b, a)] };
        for (from, to) in ways.iter().copied() {
            let (protocols, treatment) = (order.protocols.clone(), order.treatment);
            self.cluster.network.treat(Link { from, to, protocols, treatment });
        }
        self.spread()?;
        let links: Vec<String> = self.cluster.network.links.iter().map(|link| format!("link {link}")).collect();
        Ok(if links.is_empty() { "no link is treated".into() } else { links.join("\n") })
    }

    /// Halts a node's process, or lets it go on.
    ///
    /// # Errors
    /// If the node does not run, is halted already or not, or the system has no such signal.
    pub fn halt(&mut self, node: usize, halt: bool) -> anyhow::Result<String> {
        self.exists(node)?;
        let Some(pid) = self.cluster.nodes[node].pid else {
            bail!("node {node} does not run; `sundog localnet restart {node}` starts it");
        };
        let paused = self.paused(node);
        match (halt, paused) {
            (true, true) => bail!("node {node} is paused already; `sundog localnet resume {node}` lets it go on"),
            (false, false) => bail!("node {node} is not paused"),
            (true, false) => {
                signal(pid, "STOP")?;
                self.cluster.network.paused.push(node);
                Ok(format!("node {node} is paused; `sundog localnet resume {node}` lets it go on"))
            }
            (false, true) => {
                // The rules that it missed wait for it when it wakes.
                self.tell(node);
                self.wake(node)?;
                self.follows(node)?;
                Ok(format!("node {node} goes on"))
            }
        }
    }

    /// Whether a node's process is halted.
    pub fn paused(&self, node: usize) -> bool {
        self.cluster.network.paused.contains(&node)
    }

    /// Lets a halted process go on, so that it can hear what is asked of it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn wake(&mut self, node: usize) -> anyhow::Result<()> {
        if self.paused(node) {
            self.cluster.network.paused.retain(|paused| *paused != node);
            if let Some(pid) = self.cluster.nodes[node].pid {
                signal(pid, "CONT")?;
            }
        }
        Ok(())
    }

    /// The rules that a node has to follow now, as a line.
    pub fn rules(&self, node: usize) -> String {
        let places: Vec<Place> = (self.cluster.nodes.iter().zip(&self.running))
            .map(|(listed, running)| Place {
                identity: listed.identity.clone(),
                addresses: running.bound.as_ref().map_or_else(Vec::new, |bound| bound.between_nodes().to_vec()),
            })
            .collect();
        let rules = self.cluster.network.rules(node, self.order, &places);
        serde_json::to_string(&rules).expect("rules serialise")
    }

    /// Tells every node that can hear it what to do, and waits until they do it.
    ///
    /// # Errors
    /// If a node does not follow in time.
    pub fn spread(&mut self) -> anyhow::Result<()> {
        self.order += 1;
        let awake: Vec<usize> = (0..self.running.len()).filter(|node| !self.paused(*node)).collect();
        awake.iter().for_each(|node| self.tell(*node));
        awake.iter().try_for_each(|node| self.follows(*node))
    }

    /// Tells every node where one that has just started listens, if it matters to them.
    ///
    /// # Errors
    /// As [`Self::spread`].
    pub fn tell_ports(&mut self) -> anyhow::Result<()> {
        let network = &self.cluster.network;
        if network.groups.is_empty() && network.links.is_empty() { Ok(()) } else { self.spread() }
    }

    fn tell(&mut self, node: usize) {
        let line = self.rules(node) + "\n";
        if self.faults
            && let Some(stdin) = self.running[node].child.as_mut().and_then(|child| child.stdin.as_mut())
        {
            // A node that has just ended is noticed elsewhere.
            let _ = stdin.write_all(line.as_bytes());
        }
    }

    fn follows(&mut self, node: usize) -> anyhow::Result<()> {
        if !self.faults || self.running[node].child.is_none() {
            return Ok(());
        }
        let url = self.cluster.nodes[node].metrics.clone();
        let client = Client::patient(&url, FOLLOW_WAIT);
        let deadline = Instant::now() + FOLLOW_WAIT;
        while Instant::now() < deadline {
            let page = client.get(&url).unwrap_or_default();
            let order = page.lines().find_map(|line| line.strip_prefix("sundog_fault_order ")?.parse::<u64>().ok());
            if order.is_some_and(|order| order >= self.order) {
                return Ok(());
            }
            self.check(node)?;
            std::thread::sleep(ASK_EVERY);
        }
        bail!(
            "node {node} does not follow the fault rules after {} s; see its log, or restart it",
            FOLLOW_WAIT.as_secs()
        )
    }

    fn needs_faults(&self) -> anyhow::Result<()> {
        if !self.faults {
            bail!("this localnet runs without fault injection; start it with `sundog localnet --faults`");
        }
        Ok(())
    }

    /// Whether there is such a node.
    ///
    /// # Errors
    /// If not; which there are.
    pub fn exists(&self, node: usize) -> anyhow::Result<()> {
        if node >= self.running.len() {
            bail!("there is no node {node}; nodes are 0 to {}", self.running.len() - 1);
        }
        Ok(())
    }
}

/// Sends a signal to a process that this one started and has not waited for, so that the number is still its own.
fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    if !cfg!(unix) {
        bail!("this system cannot halt a process");
    }
    let mut command = Command::new("sh");
    command.args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()]).stdin(Stdio::null());
    let sent = command.status().context("no shell to send a signal with")?;
    if !sent.success() {
        bail!("process {pid} did not take the signal {name}");
    }
    Ok(())
}
