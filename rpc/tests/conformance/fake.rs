//! A node made of fixed facts.

use serde_json::{Value, json};
use solana_account::{Account, AccountSharedData};
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage, v0};
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};
use sundog_ledger::{
    AddressRecord, Block, InnerInstruction, InnerInstructions, Located, SlotMeta, StatusMeta, TokenBalance,
    TransactionRecord,
};
use sundog_rpc::{
    BankView, Chain, Commitment, History, Reply, Rpc,
    chain::{
        AddressWindow, AirdropRefusal, Health, Heights, Inflation, LatestBlockhash, NodeFacts, PerformanceSample,
        SignatureStatus, Simulation, Submission, SubmitRefusal, VoteAccountFacts,
    },
    votes::{Abstention, ForkBlock, ForksFacts, LastDecision, TowerFacts, TowerVote},
};
use sundog_types::{
    Epoch, Hash, Now, Pubkey, Signature, Slot,
    peer::{Addresses, Peer, Version},
    schedule::{EpochSchedule, LeaderSchedule, Leaders},
    stakes::{EpochStakes, VoteStake},
};

pub const TOKEN_PROGRAM: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";

/// Address number `n`.
pub fn key(n: u8) -> Pubkey {
    Pubkey::new_from_array([n; 32])
}

pub fn hash(n: u8) -> Hash {
    Hash::new_from_array([n; 32])
}

/// The one who pays in every transaction.
pub fn payer() -> Keypair {
    Keypair::new_from_array([7; 32])
}

pub fn transfer(blockhash: Hash) -> VersionedTransaction {
    let payer = payer();
    let instruction = solana_system_interface::instruction::transfer(&payer.pubkey(), &key(2), 5);
    let message = Message::new_with_blockhash(&[instruction], Some(&payer.pubkey()), &blockhash);
    VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[&payer]).expect("one signer")
}

pub fn transfer_v0(blockhash: Hash) -> VersionedTransaction {
    let payer = payer();
    let instruction = solana_system_interface::instruction::transfer(&payer.pubkey(), &key(2), 6);
    let message = v0::Message::try_compile(&payer.pubkey(), &[instruction], &[], blockhash).expect("it compiles");
    VersionedTransaction::try_new(VersionedMessage::V0(message), &[&payer]).expect("one signer")
}

pub fn base64(transaction: &VersionedTransaction) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bincode::serialize(transaction).expect("it serialises"))
}

pub fn account(lamports: u64, data: Vec<u8>, owner: Pubkey) -> AccountSharedData {
    Account { lamports, data, owner, executable: false, rent_epoch: u64::MAX }.into()
}

pub struct FakeBank {
    pub slot: u64,
    pub accounts: BTreeMap<Pubkey, AccountSharedData>,
    pub outcome: Result<(), TransactionError>,
}

impl FakeBank {
    pub fn new(slot: u64) -> Self {
        let token: Pubkey = TOKEN_PROGRAM.parse().expect("an address");
        let accounts = BTreeMap::from([
            (key(2), account(1_000, vec![1, 2, 3, 4], key(9))),
            (key(3), account(2_000, vec![0; 200], key(9))),
            (key(20), account(3_000, mint_data(1_234_500, 3), token)),
            (key(21), account(4_000, token_data(key(20), key(30), 1_500), token)),
        ]);
        Self { slot, accounts, outcome: Ok(()) }
    }
}

pub fn mint_data(supply: u64, decimals: u8) -> Vec<u8> {
    let mut data = vec![0; 82];
    data[0] = 1;
    data[4..36].copy_from_slice(key(31).as_ref());
    data[36..44].copy_from_slice(&supply.to_le_bytes());
    data[44] = decimals;
    data[45] = 1;
    data
}

pub fn token_data(mint: Pubkey, owner: Pubkey, amount: u64) -> Vec<u8> {
    let mut data = vec![0; 165];
    data[..32].copy_from_slice(mint.as_ref());
    data[32..64].copy_from_slice(owner.as_ref());
    data[64..72].copy_from_slice(&amount.to_le_bytes());
    data[108] = 1;
    data
}

impl BankView for FakeBank {
    fn slot(&self) -> Slot {
        Slot::new(self.slot)
    }
    fn block_height(&self) -> u64 {
        self.slot - 1
    }
    fn transaction_count(&self) -> u64 {
        self.slot * 10
    }
    fn capitalization(&self) -> u64 {
        500_000_000_000_000_001
    }
    fn account(&self, address: &Pubkey) -> Option<AccountSharedData> {
        self.accounts.get(address).cloned()
    }
    fn accounts_of(&self, owner: &Pubkey, visit: &mut dyn FnMut(&Pubkey, &AccountSharedData) -> bool) {
        use solana_account::ReadableAccount;
        // From the back, so that an answer in order was put in order.
        for (address, account) in self.accounts.iter().rev().filter(|(_, account)| account.owner() == owner) {
            if !visit(address, account) {
                return;
            }
        }
    }
    fn latest_blockhash(&self) -> LatestBlockhash {
        LatestBlockhash { hash: hash(8), last_valid_block_height: self.slot - 1 + 150 }
    }
    fn last_valid_block_height(&self, blockhash: &Hash) -> Option<u64> {
        (*blockhash == hash(8)).then_some(self.slot - 1 + 150)
    }
    fn fee_for_message(&self, message: &VersionedMessage) -> Option<u64> {
        (*message.recent_blockhash() == hash(8)).then_some(5_000)
    }
    fn minimum_balance(&self, data_len: usize) -> u64 {
        (128 + data_len as u64) * 6_960
    }
    fn stake_minimum_delegation(&self) -> u64 {
        1
    }
    fn inflation(&self) -> Inflation {
        Inflation::default()
    }
    fn vote_accounts(&self) -> Vec<VoteAccountFacts> {
        let vote = |n, last_vote: u64, stake| VoteAccountFacts {
            vote_account: key(n),
            node: key(n + 1),
            stake,
            in_epoch: stake > 0,
            commission: 5,
            epoch_credits: (0..7).map(|epoch| (epoch, epoch * 10 + 10, epoch * 10)).collect(),
            last_vote: (last_vote > 0).then(|| Slot::new(last_vote)),
            root: None,
        };
        vec![vote(50, self.slot - 1, 1_000), vote(52, 0, 600), vote(54, 0, 0)]
    }
    fn simulate(&self, transaction: &VersionedTransaction) -> Simulation {
        let status = match self.last_valid_block_height(transaction.message.recent_blockhash()) {
            None => Err(TransactionError::BlockhashNotFound),
            Some(_) => self.outcome.clone(),
        };
        let meta =
            StatusMeta { logs: Some(vec!["a log".to_owned()]), compute_units: Some(150), fee: 5_000, status, ..meta() };
        Simulation {
            meta,
            loaded_accounts_data_size: 14,
            accounts: vec![(key(2), account(1_005, vec![], Pubkey::default()))],
        }
    }
}

pub fn meta() -> StatusMeta {
    let inner = InnerInstruction { program_id_index: 2, accounts: vec![0, 1], data: vec![9], stack_height: Some(2) };
    StatusMeta {
        fee: 5_000,
        pre_balances: vec![10_000, 0, 1],
        post_balances: vec![4_995, 5, 1],
        inner_instructions: Some(vec![InnerInstructions { index: 0, instructions: vec![inner] }]),
        logs: Some(vec!["Program 11111111111111111111111111111111 success".to_owned()]),
        post_token_balances: vec![TokenBalance {
            account_index: 1,
            mint: key(20),
            owner: key(30),
            program_id: TOKEN_PROGRAM.parse().expect("an address"),
            amount: 1_500,
            decimals: 3,
        }],
        return_data: Some((key(9), vec![1, 2, 3])),
        compute_units: Some(150),
        cost_units: Some(1_481),
        ..StatusMeta::default()
    }
}

pub struct Fake {
    pub node: NodeFacts,
    pub health: Health,
    pub banks: Mutex<[Arc<FakeBank>; 3]>,
    pub leaders: Arc<Leaders>,
    pub blocks: BTreeMap<Slot, (Commitment, Block)>,
    pub statuses: Mutex<BTreeMap<Signature, SignatureStatus>>,
    pub submitted: Mutex<Vec<Submission>>,
    pub room: usize,
}

/// Slots 160 (finalized), 161 (confirmed; the block with transactions is 158), 163 (processed). Slot 159 was skipped.
impl Default for Fake {
    fn default() -> Self {
        let schedule = EpochSchedule::custom(32, 32, false);
        let vote = VoteStake { node: key(1), authorized_voter: key(50), stake: 1 };
        let stakes = EpochStakes { by_vote_account: BTreeMap::from([(key(50), vote)]) };
        let mut leaders = Leaders::new(schedule);
        leaders.insert(Arc::new(LeaderSchedule::new(Epoch::new(4), 32, &stakes)));
        leaders.insert(Arc::new(LeaderSchedule::new(Epoch::new(5), 32, &stakes)));
        let standing = |slot| match slot {
            ..=160 => Commitment::Finalized,
            161 => Commitment::Confirmed,
            _ => Commitment::Processed,
        };
        let blocks = [156, 157, 158, 160, 161, 163].map(|slot| (Slot::new(slot), (standing(slot), block(slot))));
        Self {
            node: NodeFacts {
                identity: key(1),
                version: "3.1.12".to_owned(),
                feature_set: 77,
                genesis_hash: hash(6),
                shred_version: 4_711,
            },
            health: Health::Ok,
            banks: Mutex::new([163, 161, 160].map(|slot| Arc::new(FakeBank::new(slot)))),
            leaders: Arc::new(leaders),
            blocks: BTreeMap::from(blocks),
            statuses: Mutex::default(),
            submitted: Mutex::default(),
            room: 1,
        }
    }
}

fn block(slot: u64) -> Block {
    let record = |transaction| TransactionRecord { transaction, meta: meta() };
    let transactions = match slot {
        158 => vec![record(transfer(hash(8)))],
        160 => vec![record(transfer_v0(hash(8)))],
        _ => Vec::new(),
    };
    let meta = SlotMeta {
        parent: Slot::new(slot - 1),
        blockhash: hash(4),
        previous_blockhash: hash(3),
        block_height: slot - 2,
        block_time: 1_700_000_000,
        ..SlotMeta::default()
    };
    Block { slot: Slot::new(slot), meta, transactions }
}

impl Fake {
    pub fn set_bank(&self, commitment: Commitment, bank: FakeBank) {
        self.banks.lock().expect("no panic")[commitment as usize] = Arc::new(bank);
    }

    pub fn set_status(&self, signature: Signature, status: SignatureStatus) {
        self.statuses.lock().expect("no panic").insert(signature, status);
    }

    /// What is answered to a body, as text.
    pub fn post(&self, body: &str) -> String {
        let Reply { status, body } = Rpc::new().call(self, body.as_bytes());
        assert_eq!(status, 200);
        String::from_utf8(body).expect("text")
    }

    /// The whole answer to a call.
    pub fn reply(&self, method: &str, params: Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        serde_json::from_str(&self.post(&call.to_string())).expect("JSON")
    }

    /// The result of a call that succeeds.
    #[track_caller]
    pub fn result(&self, method: &str, params: Value) -> Value {
        let mut reply = self.reply(method, params);
        assert!(reply.get("error").is_none(), "{reply}");
        reply["result"].take()
    }

    /// The error of a call that fails.
    #[track_caller]
    pub fn error(&self, method: &str, params: Value) -> Value {
        let mut reply = self.reply(method, params);
        assert!(reply.get("result").is_none(), "{reply}");
        reply["error"].take()
    }
}

impl Chain for Fake {
    fn node(&self) -> &NodeFacts {
        &self.node
    }
    fn health(&self) -> Health {
        self.health
    }
    fn peers(&self) -> Arc<Vec<Peer>> {
        let at: SocketAddr = "127.0.0.1:8003".parse().expect("an address");
        let peer = |n, shred_version| Peer {
            identity: key(n),
            addresses: Addresses { gossip: Some(at), tpu_quic: Some(at), ..Addresses::default() },
            stake: 0,
            last_seen: Now { mono_us: 0, unix_ms: 0 },
            shred_version,
            version: Version { number: [3, 1, 12], commit: 0, feature_set: 77, client: 3 },
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        };
        Arc::new(vec![peer(1, 4_711), peer(2, 1)])
    }
    fn leaders(&self) -> Arc<Leaders> {
        Arc::clone(&self.leaders)
    }
    fn bank(&self, commitment: Commitment) -> Arc<dyn BankView> {
        Arc::clone(&self.banks.lock().expect("no panic")[commitment as usize]) as Arc<dyn BankView>
    }
    fn history(&self) -> &dyn History {
        self
    }
    fn signature_status(&self, signature: &Signature, _: bool) -> Option<SignatureStatus> {
        self.statuses.lock().expect("no panic").get(signature).cloned()
    }
    fn performance_samples(&self, limit: usize) -> Vec<PerformanceSample> {
        let sample = PerformanceSample {
            slot: Slot::new(160),
            transactions: 9,
            non_vote_transactions: 4,
            slots: 150,
            seconds: 60,
        };
        vec![sample; limit.min(2)]
    }
    fn prioritization_fees(&self, accounts: &[Pubkey]) -> Vec<(Slot, u64)> {
        vec![(Slot::new(160), accounts.len() as u64)]
    }
    fn tower(&self) -> TowerFacts {
        TowerFacts {
            identity: key(1).to_string(),
            vote_account: Some(key(2).to_string()),
            root: Some(133),
            votes: vec![TowerVote { slot: 164, confirmation_count: 1, expires: 166 }],
            voted_hash: Some(hash(3).to_string()),
            voted_at: 1_700_000_000,
            landed: Some(163),
            decision: Some(LastDecision {
                heaviest: 165,
                verdict: "switch".into(),
                why: "it is on another fork".into(),
                builds_on: 164,
                builds_because: "own_fork".into(),
            }),
            abstained: Some(Abstention { slot: 165, reason: "switch".into(), why: "it is on another fork".into() }),
        }
    }
    fn forks(&self) -> ForksFacts {
        let block = ForkBlock {
            slot: 164,
            bank_hash: hash(3).to_string(),
            parent: Some(133),
            leader: Some(key(1).to_string()),
            stake_at: 10,
            stake_above: 30,
            voters: vec![key(2).to_string()],
            valid: true,
            settled: false,
        };
        ForksFacts {
            root: 133,
            confirmed: 164,
            finalized: 131,
            heaviest: 164,
            own_vote: Some(164),
            total_stake: 40,
            blocks: vec![block],
            left_out: 0,
            tower_unreadable: None,
        }
    }
    fn heights(&self) -> Heights {
        Heights { retransmitted: Slot::new(164), stored: Slot::new(165) }
    }
    fn submit(&self, submission: Submission) -> Result<(), SubmitRefusal> {
        let mut submitted = self.submitted.lock().expect("no panic");
        if submitted.len() >= self.room {
            return Err(SubmitRefusal::Full);
        }
        submitted.push(submission);
        Ok(())
    }
    fn airdrop(&self, _: &Pubkey, lamports: u64, _: Option<Hash>) -> Result<Signature, AirdropRefusal> {
        match lamports {
            0 => Err(AirdropRefusal::NoFaucet),
            1..=100 => Ok(Signature::from([5; 64])),
            _ => Err(AirdropRefusal::Refused("the faucet pays at most 100 lamports".to_owned())),
        }
    }
}

impl History for Fake {
    fn standing(&self, slot: Slot) -> Option<Commitment> {
        self.blocks.get(&slot).map(|(commitment, _)| *commitment)
    }
    fn block(&self, slot: Slot) -> Option<Block> {
        self.blocks.get(&slot).map(|(_, block)| block.clone())
    }
    fn block_time(&self, slot: Slot) -> Option<i64> {
        if slot == Slot::ZERO { Some(1_600_000_000) } else { Some(self.block(slot)?.meta.block_time) }
    }
    fn slots(&self, range: RangeInclusive<u64>, at_least: Commitment, limit: usize) -> Vec<Slot> {
        let sure =
            self.blocks.iter().filter(|(slot, (standing, _))| range.contains(&slot.get()) && *standing >= at_least);
        sure.map(|(slot, _)| *slot).take(limit).collect()
    }
    fn first_available(&self) -> Slot {
        Slot::new(156)
    }
    fn transaction(&self, signature: &Signature) -> Option<Located> {
        let mut all =
            self.blocks.values().flat_map(|(_, block)| block.transactions.iter().map(|record| (block.slot, record)));
        let (slot, record) = all.find(|(_, record)| record.signature() == *signature)?;
        Some(Located { slot, index: 0, record: record.clone() })
    }
    fn signatures_of(&self, _: &Pubkey, window: &AddressWindow) -> Vec<AddressRecord> {
        let line = AddressRecord {
            signature: Signature::from([5; 64]),
            slot: Slot::new(158),
            index: 0,
            err: None,
            memo: Some("[2] hi".to_owned()),
            block_time: Some(1_700_000_000),
        };
        vec![line; window.limit.min(3)]
    }
}
