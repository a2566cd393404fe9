//! What a listing gave, and single items of it that don't copy it.
//!
//! An account is listed once and looked at by cluster, by member and as a whole. All these hold the same
//! listing: one of a million snapshots is in memory once.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::{fmt, slice};

/// Everything that a listing gave. Copies share it until one of them is changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Listing<T>(Arc<Vec<T>>);

/// One item of a listing, which is kept as long as any of its items is.
#[derive(Clone)]
pub struct Listed<T> {
    listing: Listing<T>,
    place: u32,
}

impl<T> Listing<T> {
    /// All items, each of which can be kept for itself.
    ///
    /// # Panics
    ///
    /// With more than four thousand million items.
    pub fn items(&self) -> impl Iterator<Item = Listed<T>> {
        let count = u32::try_from(self.0.len()).expect("no account holds so many");
        (0..count).map(|place| Listed {
            listing: Self(Arc::clone(&self.0)),
            place,
        })
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> From<Vec<T>> for Listing<T> {
    fn from(items: Vec<T>) -> Self {
        Self(Arc::new(items))
    }
}

impl<T> FromIterator<T> for Listing<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<T> Deref for Listing<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Clone> DerefMut for Listing<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a, T> IntoIterator for &'a Listing<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> slice::Iter<'a, T> {
        self.0.iter()
    }
}

impl<'a, T: Clone> IntoIterator for &'a mut Listing<T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    fn into_iter(self) -> slice::IterMut<'a, T> {
        self.iter_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for Listed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

impl<T> Deref for Listed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.listing[self.place as usize]
    }
}
