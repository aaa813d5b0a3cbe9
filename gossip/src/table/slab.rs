//! Values in numbered places.

use super::Filed;

/// Bytes of one place.
pub(super) const PLACE_BYTES: usize = size_of::<Option<Filed>>() + size_of::<u32>();

/// Numbered places, the free ones to be filled again, the one freed last first.
#[derive(Clone, Debug, Default)]
pub(super) struct Slab {
    places: Vec<Option<Filed>>,
    free: Vec<u32>,
}

impl Slab {
    /// Where the next value will be put.
    pub(super) fn next_place(&self) -> u32 {
        let end = || u32::try_from(self.places.len()).expect("fewer than 2^32 values");
        self.free.last().copied().unwrap_or_else(end)
    }

    /// Puts a value at [`Self::next_place`].
    pub(super) fn put(&mut self, filed: Filed) {
        match self.free.pop() {
            Some(at) => self.places[at as usize] = Some(filed),
            None => self.places.push(Some(filed)),
        }
    }

    pub(super) fn take(&mut self, at: u32) -> Option<Filed> {
        let filed = self.places.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(filed)
    }

    pub(super) fn get(&self, at: u32) -> Option<&Filed> {
        self.places.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Filed> {
        self.places.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Bytes of memory taken, without what the values hold themselves.
    pub(super) const fn held_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Option<Filed>>() + self.free.capacity() * size_of::<u32>()
    }
}
