//! Values and messages of every kind out of a seed: the same seed gives the same ones on every machine.

use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use solana_keypair::Keypair;
use solana_transaction::versioned::VersionedTransaction;
use std::net::{IpAddr, SocketAddr};
use sundog_gossip::{
    CrdsData, CrdsValue,
    bloom::Bloom,
    wire::{
        CrdsFilter, Ping, Pong, Protocol, Prune,
        bits::BitVec,
        contact::ContactInfo,
        duplicate::DuplicateShred,
        kinds::{LowestSlot, RestartHeaviestFork, RestartLastVotedForkSlots, SlotOffsets, SnapshotHashes, Vote},
        slots::{Bitmap, CompressedSlots, EpochSlots},
        value::Kind,
    },
};
use sundog_types::{
    Hash, Pubkey, Signature,
    peer::{Addresses, Version},
    sign::{Identity, Sign as _, SignRole},
    vote::{VoteOnWire, tower_sync_transaction},
};

/// The kinds of values that are not retired.
pub const KINDS: [Kind; 8] = [
    Kind::ContactInfo,
    Kind::Vote,
    Kind::LowestSlot,
    Kind::EpochSlots,
    Kind::DuplicateShred,
    Kind::SnapshotHashes,
    Kind::RestartLastVotedForkSlots,
    Kind::RestartHeaviestFork,
];

/// The messages, as they are numbered on the wire.
pub const MESSAGES: [&str; 6] =
    ["PullRequest", "PullResponse", "PushMessage", "PruneMessage", "PingMessage", "PongMessage"];

/// Makes samples.
pub struct Samples {
    rng: ChaCha8Rng,
    secret: [u8; 32],
}

impl Samples {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let secret = rng.r#gen();
        Self { rng, secret }
    }

    /// Who signs the samples.
    pub fn signer(&self) -> Identity {
        Identity::new(self.keypair())
    }

    fn keypair(&self) -> Keypair {
        Keypair::new_from_array(self.secret)
    }

    /// A number: small ones as often as large ones, all below the bound of 10^15 for wallclocks and slots.
    fn number(&mut self) -> u64 {
        let bits = self.rng.gen_range(0..50);
        self.rng.r#gen::<u64>() & ((1 << bits) - 1)
    }

    fn hash(&mut self) -> Hash {
        Hash::new_from_array(self.rng.r#gen())
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.rng.gen_range(0..=most)];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.rng.gen_range(0..=most)).map(|_| item(self)).collect()
    }

    /// A signed value of `kind`.
    pub fn value(&mut self, kind: Kind) -> CrdsValue {
        let data = self.data(kind);
        CrdsValue::sign(data, &self.signer())
    }

    /// What a value of `kind` says.
    pub fn data(&mut self, kind: Kind) -> CrdsData {
        let (from, wallclock) = (self.signer().identity(), self.number());
        match kind {
            Kind::ContactInfo => CrdsData::ContactInfo(Box::new(self.contact(from, wallclock))),
            Kind::Vote => CrdsData::Vote(self.rng.gen_range(0..32), self.vote(from, wallclock)),
            Kind::LowestSlot => CrdsData::LowestSlot(0, LowestSlot::new(from, self.number(), wallclock)),
            Kind::EpochSlots => {
                let parts = self.list(4, Self::part);
                CrdsData::EpochSlots(self.rng.gen_range(0..255), EpochSlots { from, parts, wallclock })
            }
            Kind::DuplicateShred => CrdsData::DuplicateShred(self.rng.gen_range(0..512), self.chunk(from, wallclock)),
            Kind::SnapshotHashes => {
                let full = (self.number(), self.hash());
                let incremental = self.list(25, |some| (full.0 + 1 + some.number() / 2, some.hash()));
                CrdsData::SnapshotHashes(SnapshotHashes { from, full, incremental, wallclock })
            }
            Kind::RestartLastVotedForkSlots => CrdsData::RestartLastVotedForkSlots(RestartLastVotedForkSlots {
                from,
                wallclock,
                offsets: self.offsets(),
                last_voted_slot: self.number(),
                last_voted_hash: self.hash(),
                shred_version: self.rng.r#gen(),
            }),
            Kind::RestartHeaviestFork => CrdsData::RestartHeaviestFork(RestartHeaviestFork {
                from,
                wallclock,
                last_slot: self.number(),
                last_slot_hash: self.hash(),
                observed_stake: self.rng.r#gen(),
                shred_version: self.rng.r#gen(),
            }),
            Kind::Retired => panic!("nobody makes values of retired kinds"),
        }
    }

    fn contact(&mut self, from: Pubkey, wallclock: u64) -> ContactInfo {
        let ips: [IpAddr; 3] = [
            IpAddr::from(self.rng.r#gen::<[u8; 4]>()),
            IpAddr::from(self.rng.r#gen::<[u8; 16]>()),
            IpAddr::from([203, 0, 113, 7]),
        ];
        let mut at = || {
            let socket = SocketAddr::new(ips[self.rng.gen_range(0..ips.len())], self.rng.r#gen());
            self.rng.gen_bool(0.8).then_some(socket)
        };
        let sockets = Addresses {
            gossip: at(),
            tvu: at(),
            tvu_quic: at(),
            tpu: at(),
            tpu_quic: at(),
            tpu_forwards_quic: at(),
            tpu_vote: at(),
            tpu_vote_quic: at(),
            serve_repair: at(),
            rpc: at(),
            rpc_pubsub: at(),
        };
        let mut info = ContactInfo::new(from, self.rng.r#gen(), self.rng.r#gen(), &sockets);
        info.wallclock = wallclock;
        info.version = Version {
            number: self.rng.r#gen(),
            commit: self.rng.r#gen(),
            feature_set: self.rng.r#gen(),
            client: self.rng.gen_range(0..5),
        };
        info
    }

    fn vote(&mut self, from: Pubkey, wallclock: u64) -> Vote {
        let root = self.number();
        let mut slot = root;
        let mut confirmations = 32;
        let slots = self.list(30, |some| {
            slot += some.rng.gen_range(1..300);
            confirmations -= 1;
            (slot, confirmations)
        });
        let newest = (slot + 1, 1);
        let vote = VoteOnWire {
            vote_account: Pubkey::new_from_array(self.rng.r#gen()),
            slots: slots.into_iter().chain([newest]).collect(),
            root: Some(root),
            hash: self.hash(),
            block_id: self.hash(),
            timestamp: self.rng.r#gen::<bool>().then_some(1_760_000_000),
            switch: false,
        };
        let transaction: VersionedTransaction =
            tower_sync_transaction(&vote, self.hash(), &self.keypair(), &self.keypair());
        let transaction = transaction.into_legacy_transaction().expect("votes are legacy transactions");
        Vote::new(from, transaction, wallclock).expect("it is a vote")
    }

    fn part(&mut self) -> CompressedSlots {
        let (first_slot, count) = (self.number(), self.rng.gen_range(0..16_384));
        let bytes = self.bytes(200);
        let bitmap = if self.rng.r#gen() { Bitmap::Plain(BitVec::from_blocks(bytes)) } else { Bitmap::Deflated(bytes) };
        CompressedSlots { first_slot, count, bitmap }
    }

    fn chunk(&mut self, from: Pubkey, wallclock: u64) -> DuplicateShred {
        let num_chunks = self.rng.gen_range(1..=255);
        DuplicateShred {
            from,
            wallclock,
            slot: self.rng.r#gen(),
            unused_index: self.rng.r#gen(),
            unused_type: self.rng.r#gen(),
            num_chunks,
            chunk_index: self.rng.gen_range(0..num_chunks),
            chunk: self.bytes(1_000),
        }
    }

    fn offsets(&mut self) -> SlotOffsets {
        if self.rng.r#gen() {
            return SlotOffsets::Runs(self.list(300, |some| (some.number() & 0xffff) as u16));
        }
        let bits = self.rng.gen_range(0..5_000);
        let mut offsets = BitVec::zeros(bits);
        for place in 0..u64::from(bits) {
            if self.rng.gen_bool(0.3) {
                offsets.set(place);
            }
        }
        SlotOffsets::Raw(offsets)
    }

    /// The message that is numbered `tag` on the wire; those that carry values carry one of `kind`.
    pub fn message(&mut self, tag: usize, kind: Kind) -> Protocol {
        let (signer, outer) = (self.signer(), Pubkey::new_from_array(self.rng.r#gen()));
        match tag {
            0 => Protocol::PullRequest(self.filter(), Box::new(self.value(Kind::ContactInfo))),
            1 => Protocol::PullResponse(outer, vec![self.value(kind)]),
            2 => Protocol::PushMessage(outer, vec![self.value(kind)]),
            3 => {
                let mut prune = Prune {
                    pubkey: signer.identity(),
                    prunes: self.list(32, |some| Pubkey::new_from_array(some.rng.r#gen())),
                    signature: Signature::default(),
                    destination: outer,
                    wallclock: self.number(),
                };
                prune.signature = signer.sign(SignRole::Gossip, &prune.signed_bytes(self.rng.r#gen()));
                Protocol::PruneMessage(prune.pubkey, prune)
            }
            4 => Protocol::PingMessage(Ping::new(self.rng.r#gen(), &signer)),
            5 => Protocol::PongMessage(Pong::answer(&self.rng.r#gen(), &signer)),
            other => panic!("there is no message {other}"),
        }
    }

    fn filter(&mut self) -> CrdsFilter {
        let keys = self.list(8, |some| some.rng.r#gen());
        let bits = self.rng.gen_range(1..4_000);
        let mut bloom = Bloom::new(bits, keys);
        for _ in 0..self.rng.gen_range(0..100) {
            bloom.add(&self.hash());
        }
        let mask_bits = self.rng.gen_range(0..20);
        let partition = self.rng.gen_range(0..1 << mask_bits);
        CrdsFilter { bloom, mask: CrdsFilter::mask_of(partition, mask_bits), mask_bits }
    }
}
