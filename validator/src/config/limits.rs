//! How much of gossip a node looks at: settings to limits.

use super::Settings;
use sundog_gossip::{PacketLimits, limits::Rate};

/// A setting, where it is, and the limit that it sets.
type Row = (&'static str, fn(&mut Settings) -> &mut Option<u32>, fn(&mut PacketLimits) -> &mut Rate);

const ROWS: [Row; 15] = [
    ("gossip-packets-per-second", |settings| &mut settings.gossip_packets_per_second, |limits| &mut limits.of_all),
    ("gossip-packets-per-peer", |settings| &mut settings.gossip_packets_per_peer, |limits| &mut limits.of_peer),
    (
        "gossip-packets-per-stranger",
        |settings| &mut settings.gossip_packets_per_stranger,
        |limits| &mut limits.of_stranger,
    ),
    (
        "gossip-packets-of-strangers",
        |settings| &mut settings.gossip_packets_of_strangers,
        |limits| &mut limits.of_strangers,
    ),
    ("gossip-pings-per-host", |settings| &mut settings.gossip_pings_per_host, |limits| &mut limits.pings_of_host),
    (
        "gossip-pings-of-strangers",
        |settings| &mut settings.gossip_pings_of_strangers,
        |limits| &mut limits.pings_of_strangers,
    ),
    ("gossip-pings-of-peers", |settings| &mut settings.gossip_pings_of_peers, |limits| &mut limits.pings_of_peers),
    ("gossip-pulls-per-peer", |settings| &mut settings.gossip_pulls_per_peer, |limits| &mut limits.pulls_of_peer),
    ("gossip-prunes-per-peer", |settings| &mut settings.gossip_prunes_per_peer, |limits| &mut limits.prunes_of_peer),
    (
        "gossip-introductions-per-peer",
        |settings| &mut settings.gossip_introductions_per_peer,
        |limits| &mut limits.introductions_of_peer,
    ),
    (
        "gossip-introductions-of-strangers",
        |settings| &mut settings.gossip_introductions_of_strangers,
        |limits| &mut limits.introductions_of_strangers,
    ),
    ("gossip-votes-per-origin", |settings| &mut settings.gossip_votes_per_origin, |limits| &mut limits.votes_of_origin),
    (
        "gossip-epoch-slots-per-origin",
        |settings| &mut settings.gossip_epoch_slots_per_origin,
        |limits| &mut limits.epoch_slots_of_origin,
    ),
    (
        "gossip-duplicates-per-origin",
        |settings| &mut settings.gossip_duplicates_per_origin,
        |limits| &mut limits.duplicates_of_origin,
    ),
    (
        "gossip-values-per-origin",
        |settings| &mut settings.gossip_values_per_origin,
        |limits| &mut limits.others_of_origin,
    ),
];

/// Settings that say what the limits are anyhow, and nothing else.
#[must_use]
pub fn defaults() -> Settings {
    let (mut settings, mut limits) = (Settings::default(), PacketLimits::default());
    for (_, setting, limit) in ROWS {
        *setting(&mut settings) = Some(limit(&mut limits).per_second);
    }
    settings
}

/// The limits that the settings ask for. What may come at once changes with what may come in a second.
#[must_use]
pub fn packet_limits(settings: &Settings) -> PacketLimits {
    let (mut settings, mut limits) = (settings.clone(), PacketLimits::default());
    for (_, setting, limit) in ROWS {
        if let Some(per_second) = *setting(&mut settings) {
            let usual = *limit(&mut limits);
            let burst = u64::from(usual.burst) * u64::from(per_second) / u64::from(usual.per_second.max(1));
            let burst = u32::try_from(burst.max(1)).unwrap_or(u32::MAX);
            *limit(&mut limits) = Rate::new(per_second, burst);
        }
    }
    limits
}

/// A limit that is set to 0, if there is one.
#[must_use]
pub fn zero(settings: &Settings) -> Option<&'static str> {
    let mut settings = settings.clone();
    ROWS.into_iter().find(|(_, setting, _)| *setting(&mut settings) == Some(0)).map(|(key, _, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_settings_give_the_default_limits() {
        assert_eq!(packet_limits(&defaults()), PacketLimits::default());
        assert_eq!(packet_limits(&Settings::default()), PacketLimits::default());
    }

    #[test]
    fn each_setting_sets_its_own_limit_and_the_burst_goes_with_it() {
        for (key, setting, limit) in ROWS {
            let usual = *limit(&mut PacketLimits::default());
            let mut settings = Settings::default();
            *setting(&mut settings) = Some(usual.per_second * 2);
            let mut limits = packet_limits(&settings);
            assert_eq!(*limit(&mut limits), Rate::new(usual.per_second * 2, usual.burst * 2), "{key}");
            *limit(&mut limits) = usual;
            assert_eq!(limits, PacketLimits::default(), "{key} sets nothing else");
            *setting(&mut settings) = Some(0);
            assert_eq!(zero(&settings), Some(key));
        }
    }
}
