//! What verify found in a snapshot, as it stands in the snapshot's tags.
//!
//! Invariant: a verdict is of the snapshot that it was written on. Tags travel: whoever makes a volume of a
//! snapshot by hand may copy them, and DLM copies a volume's to each later snapshot.

use serde::{Deserialize, Serialize};

use crate::snapshot::Snapshot;

/// On a snapshot: the verdict.
pub const VERIFIED: &str = "etcd-backup/verified";
/// On a snapshot: its own id, beside the verdict, which is another's where this names another. One without
/// it counts, as where there was no room for more.
pub const VERIFIED_SNAPSHOT: &str = "etcd-backup/verified-snapshot";
/// On a snapshot: the revision that the member had.
pub const VERIFIED_REVISION: &str = "etcd-backup/verified-revision";
/// On a snapshot: etcd's id of the cluster, which a restore by etcd-manager changes.
pub const CLUSTER_ID: &str = "etcd-backup/cluster-id";
/// On a snapshot: how many objects of some core kinds there were, as `nodes=3 pods=412`.
pub const OBJECTS: &str = "etcd-backup/objects";
/// On a snapshot, with the value `1`: the member must start before the others.
pub const START_FIRST: &str = "etcd-backup/start-first";

/// Whether etcd would start from a snapshot, or from the snapshots of a restore point. Ordered: the worst
/// is the greatest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It would.
    Restorable,
    /// A quorum would, a member would not; or it would start and serve badly.
    Degraded,
    /// The reader can't tell.
    Unsupported,
    /// It would not.
    Damaged,
}

impl Verdict {
    /// As tags and answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restorable => "restorable",
            Self::Degraded => "degraded",
            Self::Unsupported => "unsupported",
            Self::Damaged => "damaged",
        }
    }

    /// Reads it off a snapshot; `None` where verify has not been, or wrote what this program doesn't know.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let verdicts = [
            Self::Restorable,
            Self::Degraded,
            Self::Unsupported,
            Self::Damaged,
        ];
        let found = own(snapshot, VERIFIED)?;
        verdicts.into_iter().find(|verdict| verdict.name() == found)
    }

    /// The worst of several; `None` where any is without one.
    pub fn worst<'a>(snapshots: impl Iterator<Item = &'a Snapshot>) -> Option<Self> {
        let verdicts: Option<Vec<Self>> = snapshots.map(Self::of).collect();
        verdicts?.into_iter().max()
    }
}

/// The revision that verify read.
pub fn revision(snapshot: &Snapshot) -> Option<u64> {
    own(snapshot, VERIFIED_REVISION)?.parse().ok()
}

/// Whether verify says that the member must start before the others.
pub fn starts_first(snapshot: &Snapshot) -> bool {
    own(snapshot, START_FIRST) == Some("1")
}

/// One of verify's tags, where they are the snapshot's own.
fn own<'a>(snapshot: &'a Snapshot, key: &str) -> Option<&'a str> {
    let written_on = snapshot.tags.get(VERIFIED_SNAPSHOT);
    if written_on.is_some_and(|id| id != snapshot.id.as_str()) {
        return None;
    }
    snapshot.tags.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SnapshotState;

    fn snapshot(tags: &[(&str, &str)]) -> Snapshot {
        let tags = tags.iter();
        Snapshot {
            id: "snap-0a".into(),
            volume_id: "vol-0a".into(),
            state: SnapshotState::Completed,
            state_message: None,
            started: "2026-11-22T06:04:00Z".parse().unwrap(),
            completed_after_seconds: None,
            size_gib: 20,
            encrypted: true,
            kms_key_id: None,
            archived: false,
            tags: tags
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn a_verdict_survives_the_round_trip_and_the_worst_counts() {
        let with = |verdict: &str| snapshot(&[(VERIFIED, verdict)]);
        for verdict in [
            Verdict::Restorable,
            Verdict::Degraded,
            Verdict::Unsupported,
            Verdict::Damaged,
        ] {
            assert_eq!(Verdict::of(&with(verdict.name())), Some(verdict));
        }
        let (sound, damaged, none) = (with("restorable"), with("damaged"), snapshot(&[]));
        let worst = |of: &[&Snapshot]| Verdict::worst(of.iter().copied());
        assert_eq!(worst(&[&sound, &damaged]), Some(Verdict::Damaged));
        assert_eq!(worst(&[&sound, &sound]), Some(Verdict::Restorable));
        assert_eq!(worst(&[&sound, &none]), None);
        assert_eq!(Verdict::of(&with("splendid")), None);
    }

    #[test]
    fn what_was_copied_from_another_snapshot_is_no_verdict_on_this_one() {
        for (written_on, counts) in [
            (None, true),
            (Some("snap-0a"), true),
            (Some("snap-0b"), false),
        ] {
            let mut tags = vec![
                (VERIFIED, "restorable"),
                (VERIFIED_REVISION, "7"),
                (START_FIRST, "1"),
            ];
            tags.extend(written_on.map(|id| (VERIFIED_SNAPSHOT, id)));
            let snapshot = snapshot(&tags);
            let read = (
                Verdict::of(&snapshot),
                revision(&snapshot),
                starts_first(&snapshot),
            );
            let expected = (Some(Verdict::Restorable), Some(7), true);
            assert_eq!(
                read,
                if counts {
                    expected
                } else {
                    (None, None, false)
                },
                "{written_on:?}"
            );
        }
    }
}
