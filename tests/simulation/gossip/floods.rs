//! Ten thousand forged contact infos, and a flood from one address.

use super::SECOND;
use bytes::Bytes;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{net::SocketAddr, time::Duration};
use sundog_gossip::{
    CrdsData, CrdsValue,
    held::held_bytes_max,
    table::Limits,
    wire::{Carrier, contact::ContactInfo, pack},
};
use sundog_types::{Pubkey, peer::Addresses, sign::Identity};
use sundog_validator::sim::gossip::{CHAIN, GossipWorld, GossipWorldConfig};

/// Contact infos of nodes that are nowhere.
const SPOOFED: usize = 10_000;
/// Datagrams in the flood: a thousand in each of ten seconds.
const FLOOD: usize = 10_000;
/// Bytes that a machine may take for all this beyond what it held, of the much larger bound that it states.
const EXTRA_BYTES: usize = 16 << 20;

/// Names a node that does not exist, at an address where nobody is.
fn spoofed(world: &GossipWorld, number: usize) -> Bytes {
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let keypair = Keypair::new_from_array(secret);
    let gossip = SocketAddr::from(([10, 9, (number >> 8) as u8, number as u8], 8_001));
    let addresses = Addresses { gossip: Some(gossip), ..Addresses::default() };
    let mut data = CrdsData::ContactInfo(Box::new(ContactInfo::new(keypair.pubkey(), 1, CHAIN, &addresses)));
    data.restamp(keypair.pubkey(), world.now().unix_ms);
    CrdsValue::sign(data, &Identity::new(keypair)).bytes().clone()
}

#[test]
fn spoofed_contact_infos_and_a_flood_displace_nobody_and_fill_nothing() {
    const VICTIM: usize = 7;
    let mut world = GossipWorld::new(GossipWorldConfig { seed: 15, nodes: 30, ..GossipWorldConfig::default() });
    world.run_for(20 * SECOND);
    let origins = |world: &GossipWorld| super::origins(world, VICTIM);
    let held = |world: &GossipWorld| world.hosts[VICTIM].gossip.as_ref().expect("it runs").held_bytes();
    let (honest, before) = (origins(&world), held(&world));
    assert_eq!(honest.len(), 30);
    let flooder = SocketAddr::from(([10, 8, 0, 1], 9_999));
    let mut most = 0;
    for tick in 0..100 {
        let values: Vec<Bytes> = (0..SPOOFED / 100).map(|place| spoofed(&world, tick * 100 + place)).collect();
        for (place, datagram) in pack(Carrier::Push, &Pubkey::new_unique(), &values).into_iter().enumerate() {
            // Each from an address of its own.
            world.post(SocketAddr::from(([10, 7, tick as u8, place as u8], 9_000)), VICTIM, datagram);
        }
        for place in 0..FLOOD / 100 {
            let datagrams = pack(Carrier::Push, &Pubkey::default(), &values[place..=place]);
            datagrams.into_iter().for_each(|datagram| world.post(flooder, VICTIM, datagram));
        }
        world.run_for(Duration::from_millis(100));
        most = most.max(held(&world));
        assert_eq!(origins(&world), honest, "after {tick} tenths of a second");
    }
    assert!(most <= held_bytes_max(&Limits::default()));
    assert!(most <= before + EXTRA_BYTES, "{most} bytes after {before}");
    // Who is heard in this noise is still heard, by everybody and at once.
    world.run_speaking(SECOND, &[0]);
    world.run_for(2 * SECOND);
    assert!(world.probes.iter().all(|probe| probe.ms.iter().all(|ms| *ms != u16::MAX)), "{:?}", world.probes);
}
