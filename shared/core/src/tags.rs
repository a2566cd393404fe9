//! A resource's tags, in little memory.
//!
//! Accounts hold a hundred thousand snapshots, each of which repeats the tags of its volume. Copies of a
//! set of tags share their memory until one of them is changed, and what a [`TagPool`] gives shares whole
//! sets where they are equal, and keys and values where only these are.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Index;
use std::slice;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A resource's tags, by key. Sorted, each key once.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tags(Arc<Vec<(Text, Text)>>);

/// A key or a value in the memory that others share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<String>);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Arc::new(text))
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

type Pair<'a> = (&'a String, &'a String);
type Iter<'a> = std::iter::Map<slice::Iter<'a, (Text, Text)>, fn(&'a (Text, Text)) -> Pair<'a>>;

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&String> {
        let place = self.place(key).ok()?;
        Some(&self.0[place].1.0)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut String> {
        let place = self.place(key).ok()?;
        Some(Arc::make_mut(&mut Arc::make_mut(&mut self.0)[place].1.0))
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    /// Sets a tag, and gives the value that it had.
    pub fn insert(&mut self, key: String, value: String) -> Option<String> {
        let value = Text::from(value);
        match self.place(&key) {
            Ok(place) => {
                let before = &mut Arc::make_mut(&mut self.0)[place].1;
                Some(Arc::unwrap_or_clone(std::mem::replace(before, value).0))
            }
            Err(place) => {
                Arc::make_mut(&mut self.0).insert(place, (key.into(), value));
                None
            }
        }
    }

    /// Takes a tag off, and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let place = self.place(key).ok()?;
        let (_, value) = Arc::make_mut(&mut self.0).remove(place);
        Some(Arc::unwrap_or_clone(value.0))
    }

    /// Takes all of them off.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Keeps only some of them.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&String, &String) -> bool) {
        Arc::make_mut(&mut self.0).retain(|(key, value)| is_kept(&key.0, &value.0));
    }

    /// Keys and values, in the keys' order.
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(key, value)| (&*key.0, &*value.0))
    }

    /// The keys, in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// The keys alone, in their order.
    pub fn into_keys(self) -> impl Iterator<Item = String> {
        self.into_iter().map(|(key, _)| key)
    }

    /// The values, in the keys' order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// Where the set lies in memory: the same for copies that share it, and of no other set while any of
    /// them lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.0.as_str().cmp(key))
    }
}

impl Index<&str> for Tags {
    type Output = String;

    /// The value of a key that there is.
    fn index(&self, key: &str) -> &String {
        self.get(key).expect("there is no such key")
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Tags {
    type Item = Pair<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Tags {
    type Item = (String, String);
    type IntoIter =
        std::iter::Map<std::vec::IntoIter<(Text, Text)>, fn((Text, Text)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        let owned = |(key, value): (Text, Text)| {
            (Arc::unwrap_or_clone(key.0), Arc::unwrap_or_clone(value.0))
        };
        Arc::unwrap_or_clone(self.0).into_iter().map(owned)
    }
}

impl Extend<(String, String)> for Tags {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, tags: I) {
        for (key, value) in tags {
            self.insert(key, value);
        }
    }
}

impl FromIterator<(String, String)> for Tags {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(tags: I) -> Self {
        let sorted: BTreeMap<String, String> = tags.into_iter().collect();
        let texts = sorted.into_iter();
        let texts = texts.map(|(key, value)| (key.into(), value.into()));
        Self(Arc::new(texts.collect()))
    }
}

impl From<BTreeMap<String, String>> for Tags {
    fn from(tags: BTreeMap<String, String>) -> Self {
        tags.into_iter().collect()
    }
}

impl<const N: usize> From<[(String, String); N]> for Tags {
    fn from(tags: [(String, String); N]) -> Self {
        tags.into_iter().collect()
    }
}

impl Serialize for Tags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What a listing has seen of tags and other texts that repeat.
#[derive(Debug, Default)]
pub struct TagPool {
    hasher: RandomState,
    /// By their hash. Two sets of one hash are one too many to share, and nothing is lost by it.
    sets: HashMap<u64, Tags>,
    texts: HashSet<Text>,
    names: HashSet<Arc<str>>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TagPool {
    /// These tags, in the memory of an equal set where there was one. Of a key that comes twice, which AWS
    /// doesn't give, the last value counts.
    pub fn tags<'a>(&mut self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tags {
        let mut sorted: Vec<(&str, &str)> = tags.into_iter().collect();
        sorted.sort_by_key(|(key, _)| *key);
        if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            let sorted: BTreeMap<&str, &str> = sorted.into_iter().collect();
            return self.new_set(sorted.into_iter().collect());
        }
        let hash = self.hasher.hash_one(&sorted);
        if let Some(known) = self.sets.get(&hash) {
            let pairs = known.iter().map(|(key, value)| (&**key, &**value));
            if pairs.eq(sorted.iter().copied()) {
                return known.clone();
            }
        }
        let tags = self.new_set(sorted);
        self.sets.entry(hash).or_insert(tags).clone()
    }

    /// A name that many have in common, such as a key's.
    pub fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name = Arc::from(name);
        self.names.insert(Arc::clone(&name));
        name
    }

    fn new_set(&mut self, sorted: Vec<(&str, &str)>) -> Tags {
        let pairs = sorted.into_iter();
        let mut texts: Vec<_> = pairs
            .map(|(key, value)| (self.text(key), self.text(value)))
            .collect();
        // They were collected in the memory of the borrowed pairs, which are twice as large.
        texts.shrink_to_fit();
        Tags(Arc::new(texts))
    }

    fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text = Text::from(text.to_owned());
        self.texts.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is done to them, tags hold what a map would, and their copies what they held.
        #[test]
        fn tags_hold_what_a_map_would(
            steps in proptest::collection::vec(("[ab]{0,2}", proptest::option::of("[xy]{0,1}")), 0..12),
        ) {
            let (mut tags, mut map) = (Tags::new(), BTreeMap::new());
            for (key, value) in steps {
                let (copy, before) = (tags.clone(), map.clone());
                match value {
                    Some(value) => prop_assert_eq!(
                        tags.insert(key.clone(), value.clone()),
                        map.insert(key.clone(), value),
                    ),
                    None => prop_assert_eq!(tags.remove(&key), map.remove(&key)),
                }
                prop_assert_eq!(tags.get(&key), map.get(&key));
                prop_assert!(tags.iter().eq(&map));
                prop_assert!(copy.iter().eq(&before));
            }
            let again: Tags = map.clone().into_iter().collect();
            prop_assert_eq!(&again, &tags);
            prop_assert!(tags.into_iter().eq(map));
        }

        /// What a pool gives is what it was given, in any order, and equal sets are one.
        #[test]
        fn a_pool_gives_what_it_was_given(
            sets in proptest::collection::vec(
                proptest::collection::btree_map("[ab]{0,2}", "[xy]{0,1}", 0..4),
                0..12,
            ),
        ) {
            let mut pool = TagPool::default();
            let mut given: Vec<Tags> = Vec::new();
            for set in sets {
                let pairs = set.iter().map(|(key, value)| (&**key, &**value));
                let tags = pool.tags(pairs.rev());
                prop_assert!(tags.iter().eq(&set));
                let equal = given.iter().find(|other| **other == tags);
                prop_assert!(equal.is_none_or(|other| other.address() == tags.address()));
                given.push(tags);
            }
        }
    }

    #[test]
    fn the_last_of_two_values_counts() {
        let tags = TagPool::default().tags([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(format!("{tags:?}"), r#"{"a": "3", "b": "2"}"#);
    }

    #[test]
    fn a_pools_sets_have_no_spare_room() {
        let mut pool = TagPool::default();
        for count in 1..20 {
            let keys: Vec<String> = (0..count)
                .map(|number| format!("{count}/{number}"))
                .collect();
            let tags = pool.tags(keys.iter().map(|key| (key.as_str(), "1")));
            assert_eq!((tags.len(), tags.0.capacity()), (count, count));
        }
    }
}
