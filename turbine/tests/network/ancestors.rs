//! Bank hashes of ancestors, asked of other machines: they ping first, some lie, some are silent.

use crate::{FOUR, config, slot, world::World};
use std::time::Duration;
use sundog_turbine::{Input, ancestry::ANSWERED_WITHIN};
use sundog_types::{Hash, Machine as _, Slot};

const NODE: usize = 3;

fn chain(fill: u8) -> Vec<(Slot, Hash)> {
    (1..=9).rev().map(|number| (slot(number), Hash::new_from_array([fill; 32]))).collect()
}

/// A world in which nodes 0 to 2 say this of slot 9, and node 3 has asked.
fn asked(seed: u8, said: [Option<u8>; 3]) -> World {
    let mut world = World::new(seed, &FOUR, config());
    for (number, fill) in said.into_iter().enumerate() {
        match fill {
            Some(fill) => world.nodes[number].shelf.settle(chain(fill)),
            None => world.nodes[number].alive = false,
        }
    }
    world.input(NODE, Input::AskAncestors(slot(9)));
    world
}

#[test]
fn what_most_peers_say_is_heard_within_a_few_round_trips_though_they_ping_first() {
    for (seed, said) in
        [(1, [Some(7), Some(7), Some(7)]), (2, [Some(8), Some(7), Some(7)]), (3, [None, Some(7), Some(7)])]
    {
        let mut world = asked(seed, said);
        world.run(Duration::from_millis(200));
        assert_eq!(world.nodes[NODE].ancestors.get(&slot(9)), Some(&chain(7)), "{said:?}");
        assert_eq!(world.nodes[NODE].turbine.metrics().ancestors_agreed, 1);
        world.run(ANSWERED_WITHIN * 2);
        assert_eq!(world.nodes[NODE].turbine.poll_timeout(), None, "nothing is left to do");
    }
}

#[test]
fn where_most_lie_apart_or_are_silent_nothing_is_believed() {
    for (seed, said) in [(1, [Some(7), Some(8), Some(9)]), (2, [Some(7), None, None]), (3, [Some(7), Some(8), None])] {
        let mut world = asked(seed, said);
        world.run(ANSWERED_WITHIN * 2);
        assert!(world.nodes[NODE].ancestors.is_empty(), "{said:?}");
        let metrics = world.nodes[NODE].turbine.metrics();
        assert_eq!((metrics.ancestors_asked, metrics.ancestors_split), (1, 1));
        let silent = said.iter().filter(|said| said.is_none()).count() as u64;
        assert_eq!(metrics.repair_unanswered, silent);
    }
}

#[test]
fn peers_that_have_not_confirmed_a_slot_say_nothing_of_it() {
    let mut world = asked(1, [Some(7); 3]);
    world.input(NODE, Input::AskAncestors(slot(10)));
    world.run(ANSWERED_WITHIN * 2);
    assert_eq!(world.nodes[NODE].ancestors.keys().copied().collect::<Vec<_>>(), [slot(9)]);
    assert_eq!(world.nodes[NODE].turbine.metrics().ancestors_unknown, 1);
}
