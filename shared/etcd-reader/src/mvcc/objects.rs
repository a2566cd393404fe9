//! How many live objects there are of Kubernetes' core kinds.
//!
//! Which revision of a key is its last can't be told from one entry, and a table of all keys would grow
//! with the database. But above the last compaction nothing is missing, so a key begins with version 1
//! and ends with a tombstone; and a finished compaction leaves one revision of each key that lived. So
//!
//! > live = puts up to the compaction + creations after it − tombstones after it.
//!
//! While a compaction is under way, more than one revision may be left of a key below it: then, and only
//! then, a table of bounded size tells which is the last.
//!
//! Source: kube-apiserver's storage prefix `/registry` and resource prefixes; etcd,
//! `server/storage/mvcc/key_index.go` (`compact`, `keep`).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use super::key_value::{KeyValue, Revision};
use super::small_buckets::MetaBucket;

/// Kinds and the prefixes of their keys. Kinds of other API groups are not told: their names may tell
/// what a cluster is for.
const KINDS: [(&str, &str); 24] = [
    ("clusterrolebindings", "clusterrolebindings/"),
    ("clusterroles", "clusterroles/"),
    ("configmaps", "configmaps/"),
    ("cronjobs", "cronjobs/"),
    (
        "customresourcedefinitions",
        "apiextensions.k8s.io/customresourcedefinitions/",
    ),
    ("daemonsets", "daemonsets/"),
    ("deployments", "deployments/"),
    ("endpoints", "services/endpoints/"),
    ("endpointslices", "endpointslices/"),
    ("events", "events/"),
    ("ingresses", "ingress/"),
    ("jobs", "jobs/"),
    ("leases", "leases/"),
    ("namespaces", "namespaces/"),
    ("nodes", "minions/"),
    ("persistentvolumeclaims", "persistentvolumeclaims/"),
    ("persistentvolumes", "persistentvolumes/"),
    ("pods", "pods/"),
    ("replicasets", "replicasets/"),
    ("rolebindings", "rolebindings/"),
    ("roles", "roles/"),
    ("secrets", "secrets/"),
    ("services", "services/specs/"),
    ("serviceaccounts", "serviceaccounts/"),
];
const REGISTRY: &[u8] = b"/registry/";
/// Keys that the table for a compaction under way takes: some 50 MiB.
const TABLE_KEYS_MAX: usize = 1024 * 1024;

/// Whether a key is that of a Secret.
pub(super) fn is_secret(key: &[u8]) -> bool {
    kind(key).is_some_and(|kind| KINDS[kind].0 == "secrets")
}

/// The index in [`KINDS`].
fn kind(key: &[u8]) -> Option<usize> {
    let rest = key.strip_prefix(REGISTRY)?;
    KINDS
        .iter()
        .position(|(_, prefix)| rest.starts_with(prefix.as_bytes()))
}

/// Counts while the entries come, in any order.
pub(super) struct ObjectCount {
    compaction: u64,
    counts: [i64; KINDS.len()],
    /// While a compaction is under way, the last revision below it of each key, by the key's hash.
    under_way: Option<HashMap<u64, Last>>,
    hasher: RandomState,
    overflowed: bool,
}

struct Last {
    revision: u64,
    kind: usize,
    live: bool,
}

impl ObjectCount {
    pub(super) fn new(meta: &MetaBucket) -> Self {
        Self {
            compaction: meta.compaction(),
            counts: [0; KINDS.len()],
            under_way: meta.compaction_is_under_way().then(HashMap::new),
            hasher: RandomState::new(),
            overflowed: false,
        }
    }

    pub(super) fn add(&mut self, revision: Revision, kv: &KeyValue) {
        let Some(kind) = kind(kv.key) else { return };
        if revision.main > self.compaction {
            if revision.tombstone {
                self.counts[kind] -= 1;
            } else if kv.version == 1 {
                self.counts[kind] += 1;
            }
        } else if let Some(table) = &mut self.under_way {
            let hash = self.hasher.hash_one(kv.key);
            if table.len() >= TABLE_KEYS_MAX && !table.contains_key(&hash) {
                self.overflowed = true;
                return;
            }
            let last = table.entry(hash).or_insert(Last {
                revision: 0,
                kind,
                live: false,
            });
            if revision.main >= last.revision {
                *last = Last {
                    revision: revision.main,
                    kind,
                    live: !revision.tombstone,
                };
            }
        } else if !revision.tombstone {
            self.counts[kind] += 1;
        }
    }

    /// The counts above 0.
    pub(super) fn finish(mut self) -> Option<BTreeMap<&'static str, u64>> {
        for last in self
            .under_way
            .iter()
            .flat_map(HashMap::values)
            .filter(|last| last.live)
        {
            self.counts[last.kind] += 1;
        }
        let counts = KINDS
            .iter()
            .zip(self.counts)
            .filter_map(|((name, _), count)| {
                Some((*name, u64::try_from(count).ok().filter(|&count| count > 0)?))
            });
        (!self.overflowed).then(|| counts.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A change of one of a few keys.
    #[derive(Clone, Debug)]
    struct Change {
        key: usize,
        delete: bool,
    }

    /// What etcd holds after changes, a compaction at a revision, of which the first deletions are done.
    fn entries(
        changes: &[Change],
        compaction: u64,
        done_up_to: u64,
    ) -> (Vec<(Revision, usize, u64)>, usize) {
        let mut versions = [0u64; 5];
        let mut entries = Vec::new();
        for (revision, change) in (1u64..).zip(changes) {
            if change.delete && versions[change.key] == 0 {
                continue;
            }
            versions[change.key] = if change.delete {
                0
            } else {
                versions[change.key] + 1
            };
            entries.push((
                Revision {
                    main: revision,
                    tombstone: change.delete,
                },
                change.key,
                versions[change.key],
            ));
        }
        let live = versions.iter().filter(|&&version| version > 0).count();
        let kept = |&(revision, key, _): &(Revision, usize, u64)| {
            let later = entries.iter().any(|(other, other_key, _)| {
                *other_key == key && other.main > revision.main && other.main <= compaction
            });
            revision.main > done_up_to.min(compaction) || !(later || revision.tombstone)
        };
        (
            entries
                .iter()
                .filter(|entry| kept(entry))
                .copied()
                .collect(),
            live,
        )
    }

    proptest! {
        #[test]
        fn live_objects_are_counted_before_during_and_after_a_compaction(
            changes in prop::collection::vec((0usize..5, any::<bool>()), 0..60),
            compaction in 0u64..60,
            done_share in 0u64..=10,
        ) {
            let changes: Vec<_> = changes.into_iter().map(|(key, delete)| Change { key, delete }).collect();
            let done_up_to = compaction * done_share / 10;
            let (mut entries, live) = entries(&changes, compaction, done_up_to);
            let finished = if done_share == 10 { compaction } else { 0 };
            let meta = MetaBucket { scheduled_compaction: compaction, finished_compaction: finished, ..MetaBucket::default() };
            let mut count = ObjectCount::new(&meta);
            entries.reverse();
            for (revision, key, version) in entries {
                let key = format!("/registry/pods/{key}");
                count.add(revision, &KeyValue { key: key.as_bytes(), version, ..KeyValue::default() });
            }
            let counted = count.finish().unwrap().get("pods").copied().unwrap_or(0);
            prop_assert_eq!(counted, live as u64);
        }
    }

    #[test]
    fn only_core_kinds_are_told() {
        assert_eq!(
            kind(b"/registry/services/specs/x/y").map(|kind| KINDS[kind].0),
            Some("services")
        );
        assert_eq!(
            kind(b"/registry/minions/x").map(|kind| KINDS[kind].0),
            Some("nodes")
        );
        assert_eq!(kind(b"/registry/mysterious.example.com/x"), None);
        assert_eq!(kind(b"/other/pods/x"), None);
        assert!(is_secret(b"/registry/secrets/x/y") && !is_secret(b"/registry/pods/x/y"));
    }
}
