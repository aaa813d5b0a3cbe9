//! Lists of nodes and drawn trees, for one machine or for many that see the same cluster.

use crate::{
    effect::Route,
    tree::{ClusterNodes, Hop, Order, TreeRng},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use sundog_types::{Hash, Pubkey, peer::Peer, shred::ShredId, stakes::EpochStakes};

/// Trees that a machine of its own keeps drawn: a shred's tree is asked for when the shred arrives and again when its
/// signature was checked, a few dozen shreds later. At most some 200 kB each in a cluster of 5,000. Full: the oldest
/// goes, and is drawn again if it is needed.
pub const ORDERS_MAX: usize = 64;
/// Lists of nodes kept: the epochs that a machine knows, and some. Full: the oldest goes.
pub const LISTS_MAX: usize = 16;
/// Registries and stakes kept in the form that trees want. Full: the oldest goes.
pub const SOURCES_MAX: usize = 8;

/// Where each peer takes shreds.
pub(crate) type Contacts = BTreeMap<Pubkey, Route>;
/// Stakes by node identity, in lamports.
pub(crate) type Stakes = BTreeMap<Pubkey, u64>;

/// Which list of nodes is wanted.
#[derive(Clone, Debug)]
pub(crate) struct ListOf {
    pub(crate) stakes: Arc<Stakes>,
    pub(crate) contacts: Arc<Contacts>,
    pub(crate) me: Pubkey,
    pub(crate) one_per_address: bool,
}

/// Which tree is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeOf {
    pub(crate) leader: Pubkey,
    pub(crate) shred: ShredId,
    pub(crate) rng: TreeRng,
}

type OrderKey = (Hash, ShredId, Pubkey, bool);

/// Keeps what is costly to make: the list of an epoch's nodes and the order of each shred's tree. A machine alone has
/// one of its own; machines in one process that see the same cluster, as in the simulator, share one, and then the
/// memory and the work for a tree are those of one node, however many there are.
///
/// Sharing changes no answer. What is made from an `Arc` is looked up by its identity, and the `Arc` is kept, so the
/// identity cannot pass to other contents; orders are looked up by the hash of their list.
pub struct TreeCache {
    orders_max: usize,
    registry: Option<Arc<Vec<Peer>>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    stakes: VecDeque<(Arc<EpochStakes>, Arc<Stakes>)>,
    contacts: VecDeque<(Arc<Vec<Peer>>, u16, Arc<Contacts>)>,
    lists: VecDeque<(ListOf, Option<Pubkey>, Arc<ClusterNodes>)>,
    orders: BTreeMap<OrderKey, Order>,
    oldest_order: VecDeque<OrderKey>,
}

impl fmt::Debug for TreeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        write!(f, "TreeCache({} lists, {} of {} orders)", kept.lists.len(), kept.orders.len(), self.orders_max)
    }
}

impl Default for TreeCache {
    fn default() -> Self {
        Self::new(ORDERS_MAX)
    }
}

impl TreeCache {
    /// An empty cache that keeps so many drawn trees. Machines that share one should have room for the shreds under
    /// way between all of them.
    #[must_use]
    pub fn new(orders_max: usize) -> Self {
        Self { orders_max: orders_max.max(1), registry: None, kept: Mutex::default() }
    }

    /// With a registry that holds for all machines that share the cache, whatever each is told with
    /// [`Input::Peers`](crate::Input::Peers): that then is only about repair. For worlds of thousands of machines.
    #[must_use]
    pub fn with_registry(orders_max: usize, registry: Arc<Vec<Peer>>) -> Self {
        Self { registry: Some(registry), ..Self::new(orders_max) }
    }

    /// Drawn trees that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().orders.len()
    }

    /// Whether no tree is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, about.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let kept = self.kept();
        let lists = kept.lists.iter().map(|(.., list)| list.held_bytes()).sum::<usize>();
        lists + kept.orders.values().map(Order::held_bytes).sum::<usize>()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves at worst an order that is drawn less far than it says nowhere.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stakes(&self, stakes: &Arc<EpochStakes>) -> Arc<Stakes> {
        let mut kept = self.kept();
        if let Some((_, by_node)) = kept.stakes.iter().find(|(of, _)| Arc::ptr_eq(of, stakes)) {
            return Arc::clone(by_node);
        }
        let by_node = Arc::new(stakes.by_node());
        keep(&mut kept.stakes, (Arc::clone(stakes), Arc::clone(&by_node)), SOURCES_MAX);
        by_node
    }

    pub(crate) fn contacts(&self, peers: &Arc<Vec<Peer>>, shred_version: u16) -> Arc<Contacts> {
        let peers = self.registry.as_ref().unwrap_or(peers);
        let mut kept = self.kept();
        let same = |(of, version, _): &&(Arc<Vec<Peer>>, u16, _)| Arc::ptr_eq(of, peers) && *version == shred_version;
        if let Some((.., contacts)) = kept.contacts.iter().find(same) {
            return Arc::clone(contacts);
        }
        let ours = peers.iter().filter(|peer| peer.shred_version == shred_version);
        let contact = |peer: &Peer| Some((peer.identity, Route::of(&peer.addresses)?));
        let contacts = Arc::new(ours.filter_map(contact).collect::<Contacts>());
        keep(&mut kept.contacts, (Arc::clone(peers), shred_version, Arc::clone(&contacts)), SOURCES_MAX);
        contacts
    }

    /// The list that `of.me` draws trees from. It is the same for all nodes that the list has anyway.
    pub(crate) fn nodes(&self, of: ListOf) -> Arc<ClusterNodes> {
        let listed = of.contacts.contains_key(&of.me) || of.stakes.get(&of.me).is_some_and(|stake| *stake > 0);
        let extra = (!listed).then_some(of.me);
        let mut kept = self.kept();
        let same = |(other, other_extra, _): &&(ListOf, Option<Pubkey>, Arc<ClusterNodes>)| {
            Arc::ptr_eq(&other.stakes, &of.stakes)
                && Arc::ptr_eq(&other.contacts, &of.contacts)
                && other.one_per_address == of.one_per_address
                && *other_extra == extra
        };
        if let Some((.., nodes)) = kept.lists.iter().find(same) {
            return Arc::clone(nodes);
        }
        let contacts = of.contacts.iter().map(|(key, route)| (*key, Some(*route)));
        let contacts = contacts.chain(extra.map(|me| (me, None)));
        let nodes = Arc::new(ClusterNodes::new(&of.stakes, contacts, of.one_per_address));
        keep(&mut kept.lists, (of, extra, Arc::clone(&nodes)), LISTS_MAX);
        nodes
    }

    pub(crate) fn root(&self, nodes: &ClusterNodes, tree: &TreeOf) -> Option<Pubkey> {
        nodes.root(self.kept().order(nodes, tree, self.orders_max))
    }

    pub(crate) fn hop(&self, nodes: &ClusterNodes, tree: &TreeOf, node: &Pubkey, fanout: usize) -> Option<Hop> {
        nodes.hop(self.kept().order(nodes, tree, self.orders_max), node, fanout)
    }

    pub(crate) fn parent(&self, nodes: &ClusterNodes, tree: &TreeOf, node: &Pubkey, fanout: usize) -> Option<Pubkey> {
        nodes.parent(self.kept().order(nodes, tree, self.orders_max), node, fanout)
    }
}

impl Kept {
    fn order(&mut self, nodes: &ClusterNodes, tree: &TreeOf, orders_max: usize) -> &mut Order {
        let key = (nodes.digest(), tree.shred, tree.leader, tree.rng == TreeRng::ChaCha8);
        if !self.orders.contains_key(&key) {
            while self.oldest_order.len() >= orders_max
                && let Some(oldest) = self.oldest_order.pop_front()
            {
                self.orders.remove(&oldest);
            }
            self.oldest_order.push_back(key);
        }
        self.orders.entry(key).or_insert_with(|| nodes.draw(&tree.leader, &tree.shred, tree.rng))
    }
}

fn keep<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::{ShredIndex, Slot, shred::Kind};

    fn key(number: u8) -> Pubkey {
        Pubkey::from([number; 32])
    }

    fn list(cache: &TreeCache, source: &ListOf, me: u8) -> Arc<ClusterNodes> {
        cache.nodes(ListOf { me: key(me), ..source.clone() })
    }

    fn source() -> ListOf {
        let stakes = Arc::new((0..20).map(|number| (key(number), u64::from(number))).collect());
        let route = Route { tvu: Some(([127, 0, 0, 1], 9).into()), tvu_quic: None };
        let contacts = Arc::new((0..30).map(|number| (key(number), route)).collect());
        ListOf { stakes, contacts, me: key(0), one_per_address: false }
    }

    fn tree(index: u32) -> TreeOf {
        let shred = ShredId { slot: Slot::new(1), index: ShredIndex::new(index), kind: Kind::Data };
        TreeOf { leader: key(19), shred, rng: TreeRng::ChaCha8 }
    }

    #[test]
    fn nodes_of_one_list_share_it_and_a_stranger_has_its_own() {
        let (cache, source) = (TreeCache::default(), source());
        let (one, other, stranger) = (list(&cache, &source, 3), list(&cache, &source, 25), list(&cache, &source, 99));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &stranger));
        assert_ne!(one.digest(), stranger.digest());
        assert!(cache.hop(&stranger, &tree(0), &key(99), 3).is_some(), "it has a place in its own list");
        assert!(cache.hop(&one, &tree(0), &key(99), 3).is_none());
    }

    #[test]
    fn a_shared_cache_answers_as_one_of_ones_own() {
        let (shared, source) = (TreeCache::new(4), source());
        for index in 0..8 {
            for me in 0..30 {
                let alone = TreeCache::default();
                let mine = alone.hop(&list(&alone, &source, me), &tree(index), &key(me), 2);
                assert_eq!(shared.hop(&list(&shared, &source, me), &tree(index), &key(me), 2), mine);
            }
        }
    }

    #[test]
    fn a_full_cache_forgets_the_oldest() {
        let (cache, source) = (TreeCache::default(), source());
        for index in 0..3 * ORDERS_MAX as u32 {
            cache.root(&list(&cache, &source, 3), &tree(index));
        }
        assert_eq!(cache.len(), ORDERS_MAX);
        for stranger in 0..2 * LISTS_MAX as u8 {
            list(&cache, &source, 100 + stranger);
        }
        for _ in 0..2 * SOURCES_MAX {
            cache.stakes(&Arc::default());
            cache.contacts(&Arc::default(), 1);
        }
        let kept = cache.kept();
        assert_eq!((kept.lists.len(), kept.stakes.len(), kept.contacts.len()), (LISTS_MAX, SOURCES_MAX, SOURCES_MAX));
        assert_eq!(kept.oldest_order.len(), kept.orders.len());
    }

    #[test]
    fn a_common_registry_holds_whatever_a_machine_is_told() {
        let cache = TreeCache::with_registry(4, Arc::new(Vec::new()));
        assert!(Arc::ptr_eq(&cache.contacts(&Arc::default(), 1), &cache.contacts(&Arc::default(), 1)));
    }

    #[test]
    fn what_is_made_of_one_registry_is_made_once() {
        let cache = TreeCache::default();
        let (peers, stakes) = (Arc::new(Vec::new()), Arc::new(EpochStakes::default()));
        assert!(Arc::ptr_eq(&cache.contacts(&peers, 1), &cache.contacts(&peers, 1)));
        assert!(!Arc::ptr_eq(&cache.contacts(&peers, 1), &cache.contacts(&peers, 2)));
        assert!(Arc::ptr_eq(&cache.stakes(&stakes), &cache.stakes(&stakes)));
    }
}
