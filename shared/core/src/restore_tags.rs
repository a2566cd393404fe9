//! The tags in which a restore remembers itself: everything under `etcd-backup/` that outlives an
//! invocation is written and read here.
//!
//! Two rules come from `kops update cluster`, which deletes tags that it doesn't know from live
//! volumes and stops at any `k8s.io/etcd/…` tag that it can't parse: what must not be forgotten
//! stands on a retired volume or on one that isn't tagged for discovery yet, and old values are
//! parked under our own prefix.

use jiff::Timestamp;

use crate::Tags;
use crate::discovery::is_discovery_key;
use crate::ids::{ClusterName, MemberKey, RestoreId, VolumeId};
use crate::schedule::Run;
use crate::settings::Settings;

/// What every tag of this project begins with.
pub const PREFIX: &str = "etcd-backup/";
/// EC2's limit of tags on one resource; those beginning with `aws:` don't count.
pub const TAGS_MAX: usize = 50;
/// EC2's limit of a tag key's length in characters.
pub const KEY_LENGTH_MAX: usize = 128;

/// On an autoscaling group: the restore that suspended its launches.
pub const SUSPENDED_BY: &str = "etcd-backup/suspended-by";

const RESTORE_ID: &str = "etcd-backup/restore-id";
const CLUSTER: &str = "etcd-backup/cluster";
const MEMBER: &str = "etcd-backup/member";
const RUN: &str = "etcd-backup/run";
const RUN_BY_HAND: &str = "by-hand";
const MEMBER_COUNT: &str = "etcd-backup/member-count";
const OPTIONS: &str = "etcd-backup/options";

const WAS_PREFIX: &str = "etcd-backup/was/";
const RETIRED_BY: &str = "etcd-backup/retired-by";
const RETIRED_AT: &str = "etcd-backup/retired-at";
const REPLACED_BY: &str = "etcd-backup/replaced-by";

/// What a volume made by a restore carries from the moment it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The restore that made it.
    pub restore_id: RestoreId,
    /// The cluster it is for.
    pub cluster: ClusterName,
    /// The member it is for.
    pub member: MemberKey,
    /// How many members the restore is of: when as many volumes are there, it has chosen for good.
    pub member_count: usize,
    /// The run whose snapshots were chosen; `None` when they were named by hand.
    pub run: Option<Run>,
    /// The options that the restore was asked for with, in the form that [`Origin`] need not
    /// understand: equal options have equal texts.
    pub options: String,
}

impl Origin {
    /// The tags that say so.
    pub fn tags(&self) -> Tags {
        let run = self
            .run
            .map_or(RUN_BY_HAND.to_owned(), |run| run.to_string());
        [
            (RESTORE_ID, self.restore_id.to_string()),
            (CLUSTER, self.cluster.to_string()),
            (MEMBER, self.member.to_string()),
            (MEMBER_COUNT, self.member_count.to_string()),
            (RUN, run),
            (OPTIONS, self.options.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Reads it back; `None` for a volume that no restore made, or whose tags were taken away.
    pub fn of(tags: &Tags) -> Option<Self> {
        let run = match tags.get(RUN)?.as_str() {
            RUN_BY_HAND => None,
            run => Some(Run::recorded(run.parse().ok()?)),
        };
        Some(Self {
            restore_id: tags.get(RESTORE_ID)?.as_str().into(),
            cluster: tags.get(CLUSTER)?.as_str().into(),
            member: tags.get(MEMBER)?.parse().ok()?,
            member_count: tags.get(MEMBER_COUNT)?.parse().ok()?,
            run,
            options: tags.get(OPTIONS)?.clone(),
        })
    }
}

/// Whether a volume, or the volume that a snapshot's tags were copied from, was made by a restore.
pub fn is_restored(tags: &Tags) -> bool {
    tags.contains_key(RESTORE_ID)
}

/// The journal on a volume that a restore, or an undo, retired: what it was, and what came instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The restore that retired it, or the undo.
    pub restore_id: RestoreId,
    /// When.
    pub at: Timestamp,
    /// The volume that took its place; `None` where an undo gave up a volume that had taken nobody's.
    pub replaced_by: Option<VolumeId>,
    /// The tags that were taken from it, under their own keys.
    pub was: Tags,
}

impl Retirement {
    /// The tags that say so.
    pub fn tags(&self) -> Tags {
        let mut tags: Tags = self
            .was
            .iter()
            .map(|(key, value)| (format!("{WAS_PREFIX}{key}"), value.clone()))
            .collect();
        tags.insert(RETIRED_BY.to_owned(), self.restore_id.to_string());
        tags.insert(RETIRED_AT.to_owned(), self.at.to_string());
        let replaced_by = self.replaced_by.as_ref().map(VolumeId::to_string);
        tags.extend(replaced_by.map(|volume| (REPLACED_BY.to_owned(), volume)));
        tags
    }

    /// Reads it back; `None` for a volume that was never retired.
    pub fn of(tags: &Tags) -> Option<Self> {
        let was = tags
            .iter()
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(WAS_PREFIX)?.to_owned(), value.clone()))
            })
            .collect();
        Some(Self {
            restore_id: tags.get(RETIRED_BY)?.as_str().into(),
            at: tags.get(RETIRED_AT)?.parse().ok()?,
            replaced_by: tags.get(REPLACED_BY).map(|volume| volume.as_str().into()),
            was,
        })
    }

    /// The keys of a journal, whole or not, that stands among these tags.
    pub fn keys(tags: &Tags) -> Vec<String> {
        let is_journal = |key: &&String| {
            key.starts_with(WAS_PREFIX)
                || [RETIRED_BY, RETIRED_AT, REPLACED_BY].contains(&key.as_str())
        };
        tags.keys().filter(is_journal).cloned().collect()
    }
}

/// The tags that must leave a volume for masters, `kops update cluster` and DLM to overlook it.
pub fn tags_to_retire(tags: &Tags, settings: &Settings) -> Tags {
    let is_target = |key: &str| settings.target_tags.iter().any(|tag| tag.key == key);
    tags.iter()
        .filter(|(key, _)| is_discovery_key(key) || is_target(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::from_variables(&|name| (name == "TARGET_TAGS").then(|| "backup=yes".to_owned()))
            .unwrap()
    }

    #[test]
    fn an_origin_survives_the_round_trip() {
        for run in [
            None,
            Some(settings().due_run("2026-11-22T07:30:00Z".parse().unwrap())),
        ] {
            let origin = Origin {
                restore_id: "r-1f2e3d4c5b6a".into(),
                cluster: "k8s.mycompany.tld".into(),
                member: "main/a".parse().unwrap(),
                member_count: 6,
                run,
                options: "masters=leave".to_owned(),
            };
            assert_eq!(Origin::of(&origin.tags()), Some(origin));
        }
        assert_eq!(Origin::of(&Tags::new()), None);
    }

    fn retirement(by: &str, replaced_by: Option<&str>) -> Retirement {
        let tags: Tags = [
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("Name", "a.etcd-main.k8s.mycompany.tld"),
            ("k8s.io/etcd/main", "a/a"),
            ("backup", "yes"),
            ("owner", "platform"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        Retirement {
            restore_id: by.into(),
            at: "2026-11-22T07:30:00Z".parse().unwrap(),
            replaced_by: replaced_by.map(Into::into),
            was: tags_to_retire(&tags, &settings()),
        }
    }

    #[test]
    fn a_retirement_survives_the_round_trip_and_keeps_other_tags_out() {
        for (by, replaced_by) in [("r-1f2e3d4c5b6a", Some("vol-0n")), ("u-1f2e3d4c5b6a", None)] {
            let retirement = retirement(by, replaced_by);
            assert!(!retirement.was.contains_key("owner"));
            let mut written = retirement.tags();
            assert_eq!(
                Retirement::keys(&written),
                written.keys().cloned().collect::<Vec<_>>()
            );
            written.insert("owner".to_owned(), "platform".to_owned());
            assert_eq!(Retirement::of(&written), Some(retirement));
        }
        let written = retirement("r-1f2e3d4c5b6a", Some("vol-0n")).tags();
        insta::assert_debug_snapshot!(written.keys().collect::<Vec<_>>(), @r#"
        [
            "etcd-backup/replaced-by",
            "etcd-backup/retired-at",
            "etcd-backup/retired-by",
            "etcd-backup/was/KubernetesCluster",
            "etcd-backup/was/Name",
            "etcd-backup/was/backup",
            "etcd-backup/was/k8s.io/etcd/main",
        ]
        "#);
    }
}
