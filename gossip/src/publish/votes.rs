//! Which place our next vote takes (reference 6.4 and the end of 8.5).

use sundog_types::Slot;

/// Places for votes that a publisher uses (reference 6.4).
pub const VOTES: u8 = 12;

#[derive(Clone, Copy, Debug)]
struct Cast {
    wallclock: u64,
    slot: Slot,
    /// By an earlier life: heard from others.
    earlier: bool,
}

/// The votes in our places. Full: a newer vote takes the place of the oldest.
#[derive(Debug, Default)]
pub struct OwnVotes {
    places: [Option<Cast>; VOTES as usize],
}

impl OwnVotes {
    /// The place for a vote for `slot` that is said at `wallclock`: that of the same slot, if its vote is sent anew;
    /// else a free one; else that of the oldest by wallclock for a smaller slot; and if there is none, which can only
    /// be after a life that voted further, simply of the oldest.
    pub fn place(&mut self, slot: Slot, wallclock: u64) -> u8 {
        let cast = |place: u8| self.places[usize::from(place)];
        let oldest = |smaller: bool| {
            let casts = (0..VOTES).filter_map(|place| Some((place, cast(place)?)));
            let casts = casts.filter(|(_, cast)| !smaller || cast.slot < slot);
            casts.min_by_key(|(_, cast)| (cast.wallclock, cast.slot)).map(|(place, _)| place)
        };
        let same = (0..VOTES).find(|place| cast(*place).is_some_and(|cast| cast.slot == slot));
        let free = || (0..VOTES).find(|place| cast(*place).is_none());
        let place = same.or_else(free).or_else(|| oldest(true)).or_else(|| oldest(false)).unwrap_or(0);
        self.places[usize::from(place)] = Some(Cast { wallclock, slot, earlier: false });
        place
    }

    /// Others hold a vote of our earlier life in this place. What was said in this life stays.
    pub fn hear_earlier(&mut self, place: u8, slot: Slot, wallclock: u64) {
        if let Some(known) = self.places.get_mut(usize::from(place))
            && known.is_none_or(|cast| cast.earlier && cast.wallclock < wallclock)
        {
            *known = Some(Cast { wallclock, slot, earlier: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(votes: &mut OwnVotes, slot: u64, wallclock: u64) -> u8 {
        votes.place(Slot::new(slot), wallclock)
    }

    #[test]
    fn free_places_are_taken_first_then_that_of_the_oldest_and_a_vote_sent_anew_keeps_its_own() {
        let mut votes = OwnVotes::default();
        for slot in 0..12 {
            assert_eq!(place(&mut votes, slot, 100 + slot), slot as u8);
        }
        assert_eq!(place(&mut votes, 0, 500), 0, "sent anew: now the newest by wallclock");
        assert_eq!(place(&mut votes, 20, 501), 1);
        assert_eq!(place(&mut votes, 21, 502), 2);
    }

    #[test]
    fn a_vote_does_not_push_out_one_for_a_larger_slot_while_there_is_another() {
        let mut votes = OwnVotes::default();
        for (at, slot) in [90, 80, 70, 60, 50, 40, 30, 20, 10, 9, 8, 7].into_iter().enumerate() {
            place(&mut votes, slot, at as u64);
        }
        assert_eq!(place(&mut votes, 55, 100), 4, "50 is the oldest below 55");
        assert_eq!(place(&mut votes, 5, 101), 0, "none is below 5: the oldest");
    }

    #[test]
    fn votes_of_an_earlier_life_fill_places_but_not_those_of_this_one() {
        let mut votes = OwnVotes::default();
        assert_eq!(place(&mut votes, 100, 1_000), 0);
        for index in 0..20 {
            votes.hear_earlier(index, Slot::new(50 + u64::from(index)), 500 - u64::from(index));
        }
        votes.hear_earlier(5, Slot::new(1), 1);
        assert_eq!(place(&mut votes, 101, 1_001), 11, "the oldest of the earlier life");
        assert_eq!(place(&mut votes, 100, 1_002), 0, "its own place is untouched");
        assert_eq!(place(&mut votes, 55, 1_003), 5, "the same slot");
    }
}
