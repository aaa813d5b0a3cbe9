//! The shred versions of `misc.json`.

use crate::vectors::{base58, load};
use sundog_types::{Hash, shred::shred_version};

#[test]
fn shred_versions_are_those_of_the_reference() {
    for sample in load("misc.json")["shred_versions"].as_array().expect("a list") {
        let genesis = base58(&sample["genesis_hash"]).try_into().expect("32 bytes");
        let genesis = Hash::new_from_array(genesis);
        let number = |value: &serde_json::Value| value.as_u64().expect("u64");
        let forks = sample["hard_forks"].as_array().expect("a list").iter();
        let mut forks = forks.map(|fork| (number(&fork[0]), number(&fork[1]))).collect::<Vec<_>>();
        let alone = u64::from(shred_version(&genesis, &[]));
        assert_eq!(alone, number(&sample["version_from_genesis_alone"]));
        assert_eq!(u64::from(shred_version(&genesis, &forks)), number(&sample["shred_version"]));
        forks.reverse();
        assert_eq!(u64::from(shred_version(&genesis, &forks)), number(&sample["shred_version"]));
    }
}
