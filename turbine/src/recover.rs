//! Brings back the missing shreds of an FEC set from any 32 of its 64 (reference 3.5).

use crate::kernel::erasure::Kernel;
use bytes::BytesMut;
use sundog_types::{
    ShredIndex,
    shred::{
        CodeHeader, CommonHeader, Kind, SHREDS_PER_KIND, Shred, Signed, Variant, VerifiedRoot,
        seal::{self, Part, SHREDS_PER_SET, SealError},
        variant::CODE_SHRED_SIZE,
    },
};

/// Why a set cannot be made whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Fewer than 32 different shreds.
    #[error("{0} shreds of a set are not enough, 32 are; wait for more or ask for them")]
    TooFew(usize),
    /// Without a code shred the first code index is not known.
    #[error("no code shred of the set is known; wait for one")]
    NoCode,
    /// The shreds are of different sets, or of different versions of one.
    #[error("shred {0:?} {1} is of another set than the first; gather sets by their root")]
    Mixed(Kind, ShredIndex),
    /// Not a set of 32 data and 32 code shreds.
    #[error("the set does not have 32 data and 32 code shreds; ask for the missing ones")]
    Config,
    /// The parity does not belong to the shreds under the signed root: whatever honest nodes bring back, it is not
    /// what the leader signed.
    #[error("the parity is not that of the signed tree; the leader is at fault, mark its slot")]
    NotOfTree(#[source] SealError),
}

/// Up to so many code shards are computed one by one; to compute all at once costs as much as five.
const FEW: usize = 4;

/// The Reed-Solomon code of 32 and 32.
#[derive(Clone, Copy, Debug)]
pub struct Codec(Kernel);

impl Default for Codec {
    fn default() -> Self {
        Self::new()
    }
}

/// A set to decode: work for the pool, some 100 microseconds. Comes from [`crate::Effect::Recover`].
#[derive(Clone, Debug)]
pub struct RecoverJob {
    /// Comes back with the answer.
    pub id: u64,
    /// At least 32 shreds of the set.
    pub shreds: Vec<Shred<Signed>>,
    pub(crate) codec: Codec,
}

impl RecoverJob {
    /// Decodes: what goes into [`crate::Input::Recovered`].
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn run(self) -> (u64, Result<Vec<Shred<Signed>>, RecoverError>) {
        (self.id, self.codec.recover(&self.shreds))
    }
}

/// What the shreds of a set have in common.
struct SetHeader {
    verified: VerifiedRoot,
    /// Headers and variant of its first shred, of the data kind.
    header: CommonHeader,
    first_code: u32,
    /// Chained root.
    chain: [u8; 32],
    /// The retransmitter's signature of a received shred; empty if not resigned.
    retransmitter: Vec<u8>,
}

impl Codec {
    /// Sets the code up.
    #[must_use]
    pub fn new() -> Self {
        Self(Kernel::best())
    }

    /// Computes the parity of 32 data shards into 32 code shards of the same length.
    ///
    /// # Panics
    /// If these are not 32 and 32 of one length.
    pub fn encode(&self, data: &[&[u8]], code: &mut [&mut [u8]]) {
        self.0.encode(data, code);
    }

    /// All missing shreds of a set, data first, from any 32 different ones of which one is code. All given shreds
    /// must have the same root. The tree over the whole set must have that root, too.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn recover(&self, shreds: &[Shred<Signed>]) -> Result<Vec<Shred<Signed>>, RecoverError> {
        let mut known = [const { None::<&Shred<Signed>> }; SHREDS_PER_SET];
        for shred in shreds {
            let place = known.get_mut(shred.leaf_index()).ok_or(RecoverError::Config)?;
            *place = Some(shred);
        }
        let count = known.iter().flatten().count();
        if count < SHREDS_PER_KIND {
            return Err(RecoverError::TooFew(count));
        }
        let set = SetHeader::of(shreds)?;
        let missing = self.restored(&known, set.header.variant.shard_range().len());
        let mut buffer = BytesMut::zeroed(missing.len() * CODE_SHRED_SIZE);
        let mut fresh = missing.iter();
        let parts = known.iter().enumerate().map(|(place, shred)| match shred {
            Some(shred) => Part::Known(shred),
            None => Part::Fresh(set.rebuild(place, fresh.next().expect("one for each"), &mut buffer)),
        });
        let parts = parts.collect();
        let rebuilt = seal::adopt(parts, &set.verified).map_err(RecoverError::NotOfTree)?;
        Ok(rebuilt)
    }
}

impl Codec {
    /// The shards that are missing, in order. The data come first, out of any 32; the code then comes of the data, which
    /// costs less the more is missing.
    fn restored(&self, known: &[Option<&Shred<Signed>>; SHREDS_PER_SET], size: usize) -> Vec<Vec<u8>> {
        let shard = |place: usize| known[place].map(|shred| (place, shred.erasure_shard()));
        let lost = |places: std::ops::Range<usize>| {
            let lost = places.filter(|place| known[*place].is_none());
            lost.map(|place| (place, vec![0; size])).collect::<Vec<_>>()
        };
        let (mut data, mut code) = (lost(0..SHREDS_PER_KIND), lost(SHREDS_PER_KIND..SHREDS_PER_SET));
        if !data.is_empty() {
            let sources: Vec<_> = (0..SHREDS_PER_SET).filter_map(shard).take(SHREDS_PER_KIND).collect();
            self.0.restore(
                &sources,
                &mut data.iter_mut().map(|(place, shard)| (*place, &mut shard[..])).collect::<Vec<_>>(),
            );
        }
        let mut fresh = data.iter().map(|(place, shard)| (*place, &shard[..]));
        let whole: Vec<_> =
            (0..SHREDS_PER_KIND).map(|place| shard(place).unwrap_or_else(|| fresh.next().expect("restored"))).collect();
        if code.len() > FEW {
            let mut all = vec![vec![0; size]; SHREDS_PER_KIND];
            let data: Vec<_> = whole.iter().map(|(_, shard)| *shard).collect();
            self.0.encode(&data, &mut all.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
            code.iter_mut().for_each(|(place, shard)| *shard = std::mem::take(&mut all[*place - SHREDS_PER_KIND]));
        } else {
            self.0.restore(
                &whole,
                &mut code.iter_mut().map(|(place, shard)| (*place, &mut shard[..])).collect::<Vec<_>>(),
            );
        }
        data.into_iter().chain(code).map(|(_, shard)| shard).collect()
    }
}

impl SetHeader {
    fn of(shreds: &[Shred<Signed>]) -> Result<Self, RecoverError> {
        let first = shreds.first().ok_or(RecoverError::TooFew(0))?;
        let code = shreds.iter().find(|shred| shred.kind() == Kind::Code);
        let code = code.ok_or(RecoverError::NoCode)?;
        let (verified, resigned) = (first.verified_root(), first.resigned());
        for shred in shreds {
            // A leader can sign one root twice, so signatures may differ.
            let together = shred.merkle_root() == verified.root()
                && shred.slot() == verified.slot()
                && shred.fec_set_index() == verified.fec_set_index()
                && shred.version() == first.version();
            if !together {
                return Err(RecoverError::Mixed(shred.kind(), shred.index()));
            }
            let in_place = match shred.kind() {
                Kind::Data => shred.leaf_index() < SHREDS_PER_KIND,
                Kind::Code => [shred.num_data(), shred.num_code()].map(usize::from) == [SHREDS_PER_KIND; 2],
            };
            if !in_place || shred.variant() != Variant::standard(shred.kind(), resigned) {
                return Err(RecoverError::Config);
            }
        }
        Ok(Self {
            verified,
            header: CommonHeader {
                variant: Variant::standard(Kind::Data, resigned),
                slot: first.slot(),
                index: ShredIndex::new(first.fec_set_index().get()),
                version: first.version(),
                fec_set_index: first.fec_set_index(),
            },
            first_code: code.index().get() - u32::from(code.position()),
            chain: first.chained_merkle_root().to_bytes(),
            retransmitter: first.retransmitter_signature().map(|s| s.as_ref().to_vec()).unwrap_or_default(),
        })
    }

    /// A whole shred but for signature and proof, cut off the buffer.
    fn rebuild(&self, place: usize, shard: &[u8], buffer: &mut BytesMut) -> BytesMut {
        let data = self.header.variant;
        let variant = if place < SHREDS_PER_KIND { data } else { data.other_kind() };
        let mut payload = buffer.split_to(variant.size());
        if let Some(position) = place.checked_sub(SHREDS_PER_KIND) {
            let index = ShredIndex::new(self.first_code + position as u32);
            CommonHeader { variant, index, ..self.header }.write(&mut payload);
            let count = SHREDS_PER_KIND as u16;
            CodeHeader { num_data: count, num_code: count, position: position as u16 }.write(&mut payload);
        }
        payload[variant.shard_range()].copy_from_slice(shard);
        payload[variant.root_range()].copy_from_slice(&self.chain);
        payload[variant.retransmitter_range()].copy_from_slice(&self.retransmitter);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shredder;
    use rand::{SeedableRng as _, seq::SliceRandom as _};
    use rand_chacha::ChaCha8Rng;
    use solana_keypair::Keypair;
    use sundog_types::{Hash, Slot, sign::Identity};

    fn leader() -> Identity {
        Identity::new(Keypair::new_from_array([1; 32]))
    }

    /// The last set of a block, data first.
    fn set(fill: u8) -> Vec<Shred<Signed>> {
        let mut shredder = Shredder::new(Slot::new(5), Slot::new(4), 7, Hash::default()).expect("parent");
        let mut sets = shredder.shred(&[fill; 20_000], 3, true, &leader()).expect("room");
        let set = sets.pop().expect("one set");
        set.data.into_iter().chain(set.code).collect()
    }

    #[test]
    fn any_32_of_64_bring_back_the_others() {
        let (set, codec) = (set(9), Codec::new());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut places = (0..SHREDS_PER_SET).collect::<Vec<_>>();
        for round in 0..500 {
            places.shuffle(&mut rng);
            let given = places[..32].iter().map(|place| set[*place].clone()).collect::<Vec<_>>();
            let recovered = codec.recover(&given).unwrap_or_else(|e| panic!("round {round}: {e}"));
            assert_eq!(recovered.len(), 32);
            for shred in recovered {
                assert!(!places[..32].contains(&shred.leaf_index()));
                assert_eq!(shred.payload(), set[shred.leaf_index()].payload());
            }
        }
    }

    #[test]
    fn fewer_than_32_different_shreds_bring_back_nothing() {
        let (set, codec) = (set(9), Codec::new());
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut places = (0..SHREDS_PER_SET).collect::<Vec<_>>();
        for count in 0..32 {
            places.shuffle(&mut rng);
            let mut given = places[..count].iter().map(|p| set[*p].clone()).collect::<Vec<_>>();
            given.extend(given.clone());
            assert_eq!(codec.recover(&given).err(), Some(RecoverError::TooFew(count)));
        }
    }

    #[test]
    fn a_whole_set_needs_nothing_back() {
        assert_eq!(Codec::new().recover(&set(9)).map(|shreds| shreds.len()), Ok(0));
    }

    #[test]
    fn data_alone_does_not_tell_the_code_indexes() {
        assert_eq!(Codec::new().recover(&set(9)[..32]).err(), Some(RecoverError::NoCode));
    }

    #[test]
    fn two_versions_of_a_set_are_not_mixed() {
        let mut given = set(9);
        given.splice(40.., set(8).split_off(40));
        let refused = Codec::new().recover(&given[10..50]).err();
        assert!(matches!(refused, Some(RecoverError::Mixed(Kind::Code, _))), "{refused:?}");
    }

    #[test]
    fn parity_that_does_not_belong_to_the_signed_tree_is_refused_by_name() {
        // A leader signs a tree over data and noise in place of its parity: every shred verifies.
        let noise = |(place, shred): (usize, Shred<Signed>)| {
            let mut payload = BytesMut::from(&shred.payload()[..]);
            if place >= SHREDS_PER_KIND {
                payload[shred.variant().shard_range()].fill(place as u8);
            }
            payload
        };
        let payloads = set(9).into_iter().enumerate().map(noise).collect();
        let lie = seal::sign(payloads, &leader()).expect("a whole set");
        let refused = Codec::new().recover(&lie[1..40]).err();
        assert!(matches!(refused, Some(RecoverError::NotOfTree(_))), "{refused:?}");
    }

    #[test]
    fn recovered_shreds_verify_like_those_of_the_leader() {
        use sundog_types::{shred::signature_holds, sign::Sign as _};
        let given = set(9).split_off(32);
        for shred in Codec::new().recover(&given).expect("32 of 64") {
            let again = Shred::raw(shred.into_payload()).parse().expect("parses");
            again.verify(&leader().identity(), signature_holds).expect("is signed");
        }
    }
}
