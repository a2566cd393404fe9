//! What verify found in a snapshot, as it stands in the snapshot's tags.

use serde::{Deserialize, Serialize};

use crate::Tags;

/// On a snapshot: the verdict.
pub const VERIFIED: &str = "etcd-backup/verified";
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

    /// Reads it off a snapshot's tags; `None` where verify has not been, or wrote what this program doesn't
    /// know.
    pub fn of(tags: &Tags) -> Option<Self> {
        let verdicts = [
            Self::Restorable,
            Self::Degraded,
            Self::Unsupported,
            Self::Damaged,
        ];
        let found = tags.get(VERIFIED)?;
        verdicts.into_iter().find(|verdict| verdict.name() == found)
    }

    /// The worst of several; `None` where any is without one.
    pub fn worst<'a>(tags: impl Iterator<Item = &'a Tags>) -> Option<Self> {
        let verdicts: Option<Vec<Self>> = tags.map(Self::of).collect();
        verdicts?.into_iter().max()
    }
}

/// The revision that verify read.
pub fn revision(tags: &Tags) -> Option<u64> {
    tags.get(VERIFIED_REVISION)?.parse().ok()
}

/// Whether verify says that the member must start before the others.
pub fn starts_first(tags: &Tags) -> bool {
    tags.get(START_FIRST).is_some_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(verdict: &str) -> Tags {
        Tags::from([(VERIFIED.to_owned(), verdict.to_owned())])
    }

    #[test]
    fn a_verdict_survives_the_round_trip_and_the_worst_counts() {
        for verdict in [
            Verdict::Restorable,
            Verdict::Degraded,
            Verdict::Unsupported,
            Verdict::Damaged,
        ] {
            assert_eq!(Verdict::of(&tags(verdict.name())), Some(verdict));
        }
        let (sound, damaged, none) = (tags("restorable"), tags("damaged"), Tags::new());
        let worst = |of: &[&Tags]| Verdict::worst(of.iter().copied());
        assert_eq!(worst(&[&sound, &damaged]), Some(Verdict::Damaged));
        assert_eq!(worst(&[&sound, &sound]), Some(Verdict::Restorable));
        assert_eq!(worst(&[&sound, &none]), None);
        assert_eq!(Verdict::of(&tags("splendid")), None);
    }
}
