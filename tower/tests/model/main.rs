//! All that a few voters can do in small trees, with the rules of the code and with rules written apart from it.
//!
//! In round `k` block `k` is made: its bank knows the votes of earlier rounds for its ancestors. Then every voter votes
//! for any block, or for none, as the rules allow it: what the fork choice would propose is not asked, so every order of
//! events that it could lead to is among these, and more. One more round without a block follows.
//!
//! In every state, every voter asks for every block. The code and the rules must answer the same. The code's answer
//! decides what happens, and then no promise may be broken, nor two blocks of different forks be confirmed.

mod rules;
mod world;

use rules::{Answer, View, after, until};
use std::collections::{BTreeMap, BTreeSet};
use sundog_tower::switch::{self, Interval, Question, Switch};
use sundog_tower::{Abstain, Lockouts, Tower};
use sundog_types::{Pubkey, Slot};
use world::{History, Tree, trees};

/// Votes on the trunk before, where there are some.
const TRUNK: u64 = 8;

/// Which of the checks are made.
#[derive(Clone, Copy)]
struct Made {
    lockout: bool,
    switch: bool,
}

const ALL: Made = Made { lockout: true, switch: true };

fn key(voter: usize) -> Pubkey {
    Pubkey::new_from_array([u8::try_from(voter).unwrap(); 32])
}

fn stack(view: &View<'_>, voter: usize, history: &History) -> Lockouts {
    let mut stack = Lockouts::default();
    let slots = history.blocks().map(|block| view.tree.slots[block]);
    view.before[voter].iter().copied().chain(slots).for_each(|slot| {
        stack.vote(Slot::new(slot));
    });
    stack
}

fn switch(view: &View<'_>, last: usize, to: usize) -> Switch {
    let tree = view.tree;
    let slot = |block: usize| Slot::new(tree.slots[block]);
    let tips: Vec<(Slot, Vec<Interval>)> = tree
        .tips(view.round)
        .into_iter()
        .filter(|&tip| tip > 0)
        .map(|tip| {
            let promises = |voter: usize| {
                let known = stack(view, voter, &view.histories[voter].known_to(tree, tip));
                let intervals = known.votes().iter().map(|vote| Interval {
                    start: vote.slot,
                    end: vote.last_locked_out(),
                    voter: key(voter),
                });
                intervals.collect::<Vec<_>>()
            };
            (slot(tip), (0..view.stakes.len()).flat_map(promises).collect())
        })
        .collect();
    let newest = |(voter, history): (usize, &History)| Some((key(voter), slot(history.last()?)));
    let heard = view.histories.iter().enumerate().filter(|_| view.hears).filter_map(newest).collect();
    let parents = |at: Slot| {
        let block = tree.slots.iter().position(|&known| known == at.get()).filter(|&block| block > 0)?;
        Some(slot(tree.parents[block]))
    };
    switch::check(&Question {
        parents: &parents,
        root: slot(0),
        last_vote: slot(last),
        known: true,
        purged: None,
        candidate: slot(to),
        duplicate: None,
        tips: tips.iter().map(|(tip, intervals)| (*tip, intervals.as_slice())).collect(),
        heard: &heard,
        stakes: &view.stakes.iter().enumerate().map(|(voter, stake)| (key(voter), *stake)).collect(),
        total: view.stakes.iter().sum(),
    })
}

/// What the code says, in the order in which the machine asks.
fn code(view: &View<'_>, voter: usize, to: usize, made: Made) -> Answer {
    let (tree, history) = (view.tree, &view.histories[voter]);
    let (slot, total) = (Slot::new(tree.slots[to]), view.stakes.iter().sum());
    let tower = Tower::restore(stack(view, voter, history), None, 0);
    let is_ancestor = |old: Slot| !made.lockout || (old != slot && tree.is_on(to, tree.block_at(old.get())));
    let answer = |why: Abstain| match why {
        Abstain::NotNewer { .. } => Answer::NotNewer,
        Abstain::LockedOut { by, .. } => Answer::LockedOut { by: by.get() },
        Abstain::Threshold { slot, stake, .. } => Answer::Alone { slot: slot.get(), stake },
        other => panic!("{other:?} is not asked for"),
    };
    if let Err(why) = tower.allows(slot, is_ancestor) {
        return answer(why);
    }
    let proof = history.last().map_or(Switch::SameFork, |last| switch(view, last, to));
    if let (Switch::Failed { stake, .. }, true) = (proof, made.switch) {
        return Answer::NoProof { bound: stake };
    }
    let behind = |slot: Slot| view.behind(to, slot.get());
    tower.supported(slot, behind, total).map_or_else(answer, |()| Answer::Yes { switches: proof != Switch::SameFork })
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Violation {
    BrokenPromise { voter: usize },
    ConflictingConfirmations { blocks: (usize, usize) },
}

/// From the histories alone: was each promise kept, as long as it bound when it was left?
fn violation(view: &View<'_>) -> Option<Violation> {
    let tree = view.tree;
    for (voter, history) in view.histories.iter().enumerate() {
        let mut promises = view.before[voter].iter().fold(Vec::new(), |promises, &slot| after(&promises, slot));
        for block in history.blocks() {
            let slot = tree.slots[block];
            let kept = |&promise: &(u64, u32)| until(promise) < slot || tree.is_on(block, tree.block_at(promise.0));
            if !promises.iter().all(kept) {
                return Some(Violation::BrokenPromise { voter });
            }
            promises = after(&promises, slot);
        }
    }
    let voted = |block: usize| {
        let voters = view.histories.iter().zip(view.stakes);
        voters.filter(|(history, _)| history.blocks().any(|b| b == block)).map(|(_, stake)| stake).sum::<u64>()
    };
    let total: u64 = view.stakes.iter().sum();
    let confirmed: Vec<usize> = (1..=view.round).filter(|&block| voted(block) * 3 > total * 2).collect();
    let conflict = |&(a, b): &(usize, usize)| !tree.is_on(a, b) && !tree.is_on(b, a);
    let mut pairs = confirmed.iter().flat_map(|&a| confirmed.iter().map(move |&b| (a, b)));
    pairs.find(conflict).map(|blocks| Violation::ConflictingConfirmations { blocks })
}

/// A world to be searched.
struct Setting<'a> {
    slots: &'a [u64],
    stakes: &'a [u64],
    /// Whether the first voter alone has voted on the trunk; otherwise nobody has.
    alone: bool,
    hears: bool,
    made: Made,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    trees: usize,
    states: usize,
    questions: usize,
    answers: BTreeMap<&'static str, usize>,
    violations: BTreeSet<Violation>,
}

impl Found {
    fn note(&mut self, answer: Answer) {
        self.questions += 1;
        let name = match answer {
            Answer::Yes { switches: false } => "yes",
            Answer::Yes { switches: true } => "yes, with proof",
            Answer::NotNewer => "not newer",
            Answer::LockedOut { .. } => "locked out",
            Answer::NoProof { .. } => "no proof",
            Answer::Alone { .. } => "alone",
        };
        *self.answers.entry(name).or_default() += 1;
    }
}

impl Setting<'_> {
    fn search(&self, found: &mut Found) {
        for tree in trees(self.slots) {
            found.trees += 1;
            self.search_tree(&tree, found);
        }
    }

    fn search_tree(&self, tree: &Tree, found: &mut Found) {
        let voters = self.stakes.len();
        let trunk = |voter| if self.alone && voter == 0 { (1..=TRUNK).collect() } else { Vec::new() };
        let before: Vec<Vec<u64>> = (0..voters).map(trunk).collect();
        let last_round = tree.slots.len();
        let mut states = BTreeSet::from([vec![History::default(); voters]]);
        for round in 1..=last_round {
            let mut next = BTreeSet::new();
            for histories in &states {
                let view = View {
                    tree,
                    round: round.min(last_round - 1),
                    histories,
                    stakes: self.stakes,
                    before: &before,
                    hears: self.hears,
                };
                found.states += 1;
                found.violations.extend(violation(&view));
                self.step(&view, round, found, &mut next);
            }
            states = next;
        }
        for histories in &states {
            let (round, hears) = (last_round - 1, self.hears);
            let view = View { tree, round, histories, stakes: self.stakes, before: &before, hears };
            found.states += 1;
            found.violations.extend(violation(&view));
        }
    }

    /// All that the voters may do in a round, each for itself.
    fn step(&self, view: &View<'_>, round: usize, found: &mut Found, next: &mut BTreeSet<Vec<History>>) {
        let mut ways = vec![Vec::new()];
        for (voter, history) in view.histories.iter().enumerate() {
            let mut choices = vec![*history];
            for to in 1..=view.round {
                let answer = code(view, voter, to, self.made);
                found.note(answer);
                if self.made.lockout && self.made.switch {
                    assert_eq!(
                        answer,
                        view.answer(voter, to),
                        "voter {voter} to {to} in {:?} {:?}",
                        view.tree,
                        view.histories
                    );
                }
                if matches!(answer, Answer::Yes { .. }) {
                    choices.push(history.with(to, round));
                }
            }
            let choices = &choices;
            let longer = |way: Vec<History>| choices.iter().map(move |choice| [way.as_slice(), &[*choice]].concat());
            ways = ways.into_iter().flat_map(longer).collect();
        }
        for mut way in ways {
            // Voters of equal stake without a past are alike.
            if self.stakes.iter().all(|stake| *stake == self.stakes[0]) {
                way[usize::from(self.alone)..].sort_unstable();
            }
            next.insert(way);
        }
    }
}

fn search(settings: &[Setting<'_>]) -> Found {
    let mut found = Found::default();
    for setting in settings {
        setting.search(&mut found);
    }
    found
}

/// Votes heard and not, and one voter with a tower that the others do not have.
const WAYS: [(bool, bool); 3] = [(false, true), (false, false), (true, true)];

fn search_ways(slots: &[u64], stakes: &[u64]) -> Found {
    search(&WAYS.map(|(alone, hears)| Setting { slots, stakes, alone, hears, made: ALL }))
}

/// Nothing is violated, every answer was given somewhere, and the whole world was searched.
#[track_caller]
fn check(found: &Found, trees: usize, states: usize, questions: usize) {
    assert_eq!(found.violations, BTreeSet::new());
    assert_eq!(found.answers.len(), 6, "{:?}", found.answers);
    assert_eq!((found.trees, found.states, found.questions), (trees, states, questions));
}

#[test]
fn three_voters_in_every_tree_of_four_blocks_keep_every_promise() {
    check(&search_ways(&[9, 10, 13, 14, 17], &[1, 1, 1]), 72, 1_448_668, 2_639_424);
}

#[test]
fn four_voters_in_every_tree_of_three_blocks_keep_every_promise() {
    check(&search_ways(&[9, 10, 13, 14], &[1, 1, 1, 1]), 18, 194_522, 231_744);
}

#[test]
fn unequal_voters_in_every_tree_of_three_blocks_keep_every_promise() {
    check(&search_ways(&[9, 10, 13, 14], &[40, 35, 25]), 18, 125_330, 172_044);
}

fn without(made: Made) -> BTreeSet<Violation> {
    let setting = Setting { slots: &[9, 10, 13, 14], stakes: &[1, 1, 1], alone: false, hears: true, made };
    search(&[setting]).violations
}

#[test]
fn without_the_switch_check_conflicting_blocks_get_confirmed() {
    let found = without(Made { switch: false, ..ALL });
    let conflict = |violation: &Violation| matches!(violation, Violation::ConflictingConfirmations { .. });
    assert!(!found.is_empty() && found.iter().all(conflict), "{found:?}");
}

#[test]
fn without_the_lockout_check_promises_get_broken() {
    let found = without(Made { lockout: false, ..ALL });
    let broken = |violation: &Violation| matches!(violation, Violation::BrokenPromise { .. });
    assert!(!found.is_empty() && found.iter().all(broken), "{found:?}");
}
