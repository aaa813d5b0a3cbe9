//! Turbine among 20, 200, 2,000 and 10,000 nodes: whatever is lost on the way, every living node has every block in
//! the end. `docs/turbine.md` has the figures of larger runs.

use sundog_validator::sim::spread::{Plan, Row, measure};

/// With 5 percent of the nodes dead.
fn plan(nodes: usize, fanout: usize, loss_percent: u32, slots: u64) -> Plan {
    Plan { seed: 5, nodes, fanout, loss_percent, dead_percent: 5, slots, sets: 1 }
}

#[track_caller]
fn everybody_has_every_block(plan: &Plan) -> Row {
    let row = measure(plan);
    assert!(row.complete >= 1.0, "{row:#?}");
    assert!(row.ms.iter().all(Option::is_some), "{row:#?}");
    assert!(row.bytes_mean >= row.bytes_bound, "less than the bound is impossible: {row:#?}");
    row
}

#[test]
fn twenty_nodes_have_every_block_whatever_is_lost() {
    for fanout in [200, 2] {
        for loss in [0, 5, 15] {
            let row = everybody_has_every_block(&plan(20, fanout, loss, 6));
            assert!(fanout == 200 || row.hops_max >= 4, "the tree is deep: {row:#?}");
        }
    }
}

#[test]
fn two_hundred_nodes_have_every_block_whatever_is_lost() {
    for fanout in [200, 2] {
        for loss in [0, 5, 15] {
            everybody_has_every_block(&plan(200, fanout, loss, 2));
        }
    }
}

#[test]
fn two_thousand_nodes_have_a_block_by_three_hops_whatever_is_lost() {
    for loss in [0, 5, 15] {
        let row = everybody_has_every_block(&plan(2_000, 200, loss, 1));
        assert_eq!(row.hops_max, 3, "leader, root, layers 1 and 2: {row:#?}");
        assert!(row.complete_without_repair >= 0.99, "a wide tree hardly needs repair: {row:#?}");
    }
}

#[test]
fn two_thousand_nodes_have_a_block_by_eleven_hops_whatever_is_lost() {
    for loss in [0, 5, 15] {
        let row = everybody_has_every_block(&plan(2_000, 2, loss, 1));
        assert!(row.hops_max >= 10, "{row:#?}");
    }
}

#[test]
fn ten_thousand_nodes_have_a_block() {
    let row = everybody_has_every_block(&plan(10_000, 200, 5, 1));
    assert!(row.complete_without_repair >= 0.99, "{row:#?}");
}

#[test]
fn one_seed_gives_one_row_and_another_seed_another() {
    let run = |seed| measure(&Plan { seed, ..plan(60, 2, 15, 2) });
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).history, run(4).history);
}
