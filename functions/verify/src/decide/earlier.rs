//! What the tags of an older snapshot say of a member, and what a person would want to know when it is
//! compared with what is read now.
//!
//! Only warnings follow: a restore, an upgrade or a clean-up explain each of these too.

use std::collections::BTreeMap;

use etcd_backup_core::Tags;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::verdict::{self, CLUSTER_ID, OBJECTS, Verdict};
use etcd_reader::judge::MemberReport;
use jiff::Timestamp;

/// The kinds whose counts are kept: as many as fit into a tag, and those that tell most.
const KINDS: [&str; 9] = [
    "configmaps",
    "customresourcedefinitions",
    "deployments",
    "namespaces",
    "nodes",
    "pods",
    "secrets",
    "serviceaccounts",
    "services",
];
/// A fall from fewer than these is no sign of a loss.
const SHARP_FALL_FROM_MIN: u64 = 20;

/// A member as it was found last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The snapshot that tells.
    pub snapshot_id: SnapshotId,
    /// When it was started.
    pub started: Timestamp,
    /// The member's revision.
    pub revision: Option<u64>,
    /// etcd's id of the cluster.
    pub cluster_id: Option<String>,
    /// Objects by kind.
    pub objects: BTreeMap<String, u64>,
}

impl Earlier {
    /// The newest snapshot from before a moment that was found sound.
    pub fn of<'a>(
        snapshots: impl Iterator<Item = &'a Snapshot>,
        before: Timestamp,
    ) -> Option<Self> {
        let is_sound = |snapshot: &&Snapshot| {
            let verdict = Verdict::of(snapshot);
            snapshot.started < before && verdict.is_some_and(|verdict| verdict <= Verdict::Degraded)
        };
        let newest = snapshots
            .filter(is_sound)
            .max_by_key(|snapshot| snapshot.started)?;
        // A verdict that had no value for a tag may have left it empty.
        let is_said = |value: &&String| !value.is_empty();
        Some(Self {
            snapshot_id: newest.id.clone(),
            started: newest.started,
            revision: verdict::revision(newest),
            cluster_id: newest.tags.get(CLUSTER_ID).filter(is_said).cloned(),
            objects: read_objects(&newest.tags),
        })
    }

    /// What has changed as it rarely does.
    pub fn warnings(&self, cluster_id: Option<&str>, report: &MemberReport) -> Vec<String> {
        let Self {
            snapshot_id,
            started,
            ..
        } = self;
        let since = format!("since {snapshot_id} of {started:.0}");
        let mut warnings = Vec::new();
        let is_other = self
            .cluster_id
            .as_deref()
            .zip(cluster_id)
            .is_some_and(|(before, now)| before != now);
        if is_other {
            warnings.push(format!("The cluster's id has changed {since}: etcd-manager has restored a backup into a new cluster, or it was begun anew."));
        } else if let (Some(before), Some(now)) = (self.revision, report.revision)
            && now < before
        {
            warnings.push(format!("The revision has fallen {since}, from {before} to {now}: the volume was restored, or is another one than it should be."));
        }
        // A kind of which nothing is left isn't counted at all, and is the sharpest fall.
        let falls = report.objects.iter().flat_map(|objects| {
            KINDS.iter().filter_map(move |kind| {
                let before = *self.objects.get(*kind)?;
                let now = objects.get(kind).copied().unwrap_or(0);
                let is_sharp = before >= SHARP_FALL_FROM_MIN && now < before / 2;
                is_sharp.then(|| format!("{kind} from {before} to {now}"))
            })
        });
        let falls: Vec<_> = falls.collect();
        if !falls.is_empty() {
            warnings.push(format!(
                "Much fewer objects than before, {since}: {}.",
                falls.join(", ")
            ));
        }
        warnings
    }
}

/// Counts as they stand in a tag.
pub fn write_objects(objects: &BTreeMap<&'static str, u64>) -> Option<String> {
    let kept = KINDS.iter().filter_map(|kind| {
        let count = objects.get(kind).filter(|count| **count > 0)?;
        Some(format!("{kind}={count}"))
    });
    let kept: Vec<_> = kept.collect();
    (!kept.is_empty()).then(|| kept.join(" "))
}

fn read_objects(tags: &Tags) -> BTreeMap<String, u64> {
    let counts = tags.get(OBJECTS).map_or("", String::as_str).split(' ');
    counts
        .filter_map(|count| {
            let (kind, count) = count.split_once('=')?;
            Some((kind.to_owned(), count.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_the_round_trip_and_fit_into_a_tag() {
        let objects = KINDS.map(|kind| (kind, 9_999_999)).into();
        let value = write_objects(&objects).unwrap();
        assert!(value.len() <= 256, "{}", value.len());
        let read = read_objects(&Tags::from([(OBJECTS.to_owned(), value)]));
        let read: Vec<_> = read
            .iter()
            .map(|(kind, count)| (kind.as_str(), *count))
            .collect();
        assert_eq!(read, Vec::from_iter(objects));
        assert_eq!(write_objects(&BTreeMap::new()), None);
    }

    #[test]
    fn a_sharp_fall_is_reported_also_where_nothing_is_left() {
        type Counts = [(&'static str, u64)];
        let (nothing, hundred, half): (&Counts, &Counts, &Counts) =
            (&[], &[("pods", 100)], &[("pods", 206)]);
        let fallen = |before: &str, now: Option<&Counts>| {
            let earlier = Earlier {
                snapshot_id: "snap-0a".into(),
                started: "2026-11-22T06:04:00Z".parse().unwrap(),
                revision: None,
                cluster_id: None,
                objects: read_objects(&Tags::from([(OBJECTS.to_owned(), before.to_owned())])),
            };
            let report = MemberReport {
                objects: now.map(|now| now.iter().copied().collect()),
                ..MemberReport::default()
            };
            earlier.warnings(None, &report).join(" ")
        };
        let since = "Much fewer objects than before, since snap-0a of 2026-11-22T06:04:00Z:";
        assert_eq!(
            fallen("nodes=3 pods=412 secrets=96", Some(hundred)),
            format!("{since} pods from 412 to 100, secrets from 96 to 0.")
        );
        // A cluster that was begun anew, with nothing of a core kind in it.
        assert_eq!(
            fallen("pods=412", Some(nothing)),
            format!("{since} pods from 412 to 0.")
        );
        for (before, now) in [
            ("pods=412", Some(half)),
            ("pods=19", Some(nothing)),
            // Not counted, or not by this program.
            ("pods=412", None),
            ("widgets=412", Some(nothing)),
            ("", Some(nothing)),
        ] {
            assert_eq!(fallen(before, now), "", "{before:?} {now:?}");
        }
    }
}
