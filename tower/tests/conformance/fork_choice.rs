//! Scripts of blocks, votes and marks (`fork_choice.json`).

use super::vectors::{flag, hash, index, key, list, load, number, slot};
use serde_json::Value;
use std::collections::BTreeMap;
use sundog_tower::fork_choice::{BlockKey, ForkChoice};
use sundog_types::Pubkey;

struct Script<'a> {
    blocks: Vec<BlockKey>,
    voters: Vec<Pubkey>,
    stakes: BTreeMap<Pubkey, u64>,
    choice: ForkChoice,
    script: &'a Value,
}

impl<'a> Script<'a> {
    fn new(script: &'a Value, electorates: &Value) -> Self {
        let blocks: Vec<BlockKey> = list(&script["blocks"]).iter().map(|b| (slot(&b[0]), hash(&b[1]))).collect();
        let electorate = list(&electorates[index(&script["electorate"])]);
        let voters: Vec<Pubkey> = electorate.iter().map(|v| key(&v["vote_account"])).collect();
        let stakes = electorate.iter().map(|v| (key(&v["vote_account"]), number(&v["stake"])));
        let (choice, stakes) = (ForkChoice::new(blocks[0]), stakes.collect());
        Self { blocks, voters, stakes, choice, script }
    }

    fn block(&self, value: &Value) -> BlockKey {
        self.blocks[index(value)]
    }

    fn step(&mut self, step: &[Value]) {
        let block = |value: &Value| self.block(value);
        match step[0].as_str().expect("a name") {
            "add" => {
                let (new, parent) = (block(&step[1]), block(&step[2]));
                self.choice.add(new, parent);
            }
            "votes" => {
                let votes: Vec<(Pubkey, BlockKey)> =
                    list(&step[1]).iter().map(|vote| (self.voters[index(&vote[0])], block(&vote[1]))).collect();
                let stakes = &self.stakes;
                self.choice.vote(votes, |voter, _| stakes[voter]);
            }
            "mark_invalid" => {
                let key = block(&step[1]);
                self.choice.mark_invalid(&key);
            }
            "mark_valid" => {
                let (key, expected) = (block(&step[1]), list(&step[2]).iter().map(block));
                let expected: Vec<BlockKey> = expected.collect();
                assert_eq!(self.choice.mark_valid(&key), expected, "{}", self.script["name"]);
            }
            "set_root" => {
                let key = block(&step[1]);
                self.choice.set_root(&key);
            }
            other => panic!("step {other}"),
        }
        let [.., best, deepest] = step else { panic!("a step has results") };
        let name = &self.script["name"];
        assert_eq!(self.choice.best_overall(), self.block(best), "{name} {step:?}");
        assert_eq!(self.choice.deepest_overall(), self.block(deepest), "{name} {step:?}");
    }

    fn check_final(&self) {
        let rows = list(&self.script["final"]);
        assert_eq!(self.choice.len(), rows.len());
        for row in rows {
            let standing = self.choice.get(&self.block(&row[0])).expect("in the tree");
            let context = format!("{} {row}", self.script["name"]);
            assert_eq!(standing.stake_at, number(&row[1]), "{context}");
            assert_eq!(standing.stake_subtree, number(&row[2]), "{context}");
            assert_eq!(standing.height as u64, number(&row[3]), "{context}");
            assert_eq!(standing.best, self.block(&row[4]), "{context}");
            assert_eq!(standing.deepest, self.block(&row[5]), "{context}");
            assert_eq!(standing.is_candidate(), flag(&row[6]), "{context}");
            assert_eq!(standing.duplicate_confirmed, flag(&row[7]), "{context}");
            let invalid = standing.latest_invalid_ancestor.map(|slot| slot.get());
            assert_eq!(invalid, row[8].as_u64(), "{context}");
        }
    }
}

#[test]
fn every_script_leads_to_the_same_blocks() {
    let all = load("fork_choice.json");
    let scripts = list(&all["scripts"]);
    for script in scripts {
        let mut run = Script::new(script, &all["electorates"]);
        for step in list(&script["steps"]) {
            run.step(list(step));
        }
        run.check_final();
    }
    assert_eq!(scripts.len(), 236);
}
