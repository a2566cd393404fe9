//! The tags in which a restore remembers itself: everything under `etcd-backup/` that outlives an
//! invocation is written and read here.
//!
//! Two rules come from `kops update cluster`, which deletes tags that it doesn't know from live
//! volumes and stops at any `k8s.io/etcd/…` tag that it can't parse. So what must not be
//! lost is written to a retired volume, or to one that isn't tagged for discovery yet; and old values are
//! kept under our own prefix.

use jiff::Timestamp;

use crate::Tags;
use crate::discovery::{ETCD_PREFIX, is_discovery_tag};
use crate::ids::{ClusterName, MemberKey, RestoreId, VolumeId};
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
/// On a volume that a restore made or retired: the cluster that it is, or was, of.
pub const CLUSTER: &str = "etcd-backup/cluster";
const MEMBER: &str = "etcd-backup/member";

/// How many tags say what a volume made by a restore was made for.
pub const ORIGIN_TAGS: usize = 3;

const WAS_PREFIX: &str = "etcd-backup/was/";
/// On a volume that a restore took out of service: the restore.
pub const RETIRED_BY: &str = "etcd-backup/retired-by";
const RETIRED_AT: &str = "etcd-backup/retired-at";
const REPLACED_BY: &str = "etcd-backup/replaced-by";

/// What a volume was made for, by the tags that it carries from the moment at which a restore makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The restore that made it.
    pub restore_id: RestoreId,
    /// The cluster it is for.
    pub cluster: ClusterName,
    /// The member it is for.
    pub member: MemberKey,
}

impl Origin {
    /// Reads back what [`made_by`] gives; `None` for a volume that no restore made, or whose tags were
    /// taken away.
    pub fn of(tags: &Tags) -> Option<Self> {
        let (cluster, member) = member_of(tags)?;
        Some(Self {
            restore_id: tags.get(RESTORE_ID)?.as_str().into(),
            cluster,
            member,
        })
    }
}

/// What a volume carries from the moment at which a restore makes it, to be found again if the record of
/// its id was not written any more, and for a person to know it by.
pub fn made_by(restore_id: &RestoreId, cluster: &ClusterName, member: &MemberKey) -> Tags {
    [
        (RESTORE_ID, restore_id.to_string()),
        (CLUSTER, cluster.to_string()),
        (MEMBER, member.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Whether a volume carries what [`made_by`] gives.
pub fn is_made_by(tags: &Tags, restore_id: &RestoreId, member: &MemberKey) -> bool {
    let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
    is(RESTORE_ID, restore_id.as_str()) && is(MEMBER, &member.to_string())
}

/// Whose volume it is, or was, by what a restore wrote on it when it made or retired it.
pub fn member_of(tags: &Tags) -> Option<(ClusterName, MemberKey)> {
    let cluster = tags.get(CLUSTER)?.as_str().into();
    Some((cluster, tags.get(MEMBER)?.parse().ok()?))
}

/// Whether EC2 counts a tag among the [`TAGS_MAX`].
pub fn counts_as_tag(key: &str) -> bool {
    !key.starts_with("aws:")
}

/// The restore that made a volume, or the volume that a snapshot's tags were copied from.
pub fn restored_by(tags: &Tags) -> Option<RestoreId> {
    Some(tags.get(RESTORE_ID)?.as_str().into())
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
    /// The tags that say so to a person, the most needed first: a volume may have no room for all of them.
    /// A tag whose key is too long to be kept under another name is left out; the restore's record has it.
    pub fn journal(&self, cluster: &ClusterName, member: &MemberKey) -> Vec<(String, String)> {
        let replaced_by = self.replaced_by.as_ref().map(VolumeId::to_string);
        let head = [
            (RETIRED_BY, Some(self.restore_id.to_string())),
            (REPLACED_BY, replaced_by),
            (RETIRED_AT, Some(self.at.to_string())),
            (MEMBER, Some(member.to_string())),
            (CLUSTER, Some(cluster.to_string())),
        ];
        let head = head
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let mut was: Vec<_> = self.was.iter().collect();
        // The etcd tag comes first, as it can't be guessed; Name and the target tags can.
        was.sort_by_key(|(key, _)| (!key.starts_with(ETCD_PREFIX), !key.contains('/')));
        let was = was
            .into_iter()
            .map(|(key, value)| (format!("{WAS_PREFIX}{key}"), value.clone()));
        head.chain(was.filter(|(key, _)| key.chars().count() <= KEY_LENGTH_MAX))
            .collect()
    }

    /// The tag by which a retired volume is known.
    pub fn mark(restore_id: &RestoreId) -> (String, String) {
        (RETIRED_BY.to_owned(), restore_id.to_string())
    }

    /// Whether a volume with these tags was retired.
    pub fn is_on(tags: &Tags) -> bool {
        tags.contains_key(RETIRED_BY)
    }

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
        // A volume that a restore made carries its cluster and member for that.
        let is_made = tags.contains_key(RESTORE_ID);
        let is_journal = |key: &&String| {
            key.starts_with(WAS_PREFIX)
                || [RETIRED_BY, RETIRED_AT, REPLACED_BY].contains(&key.as_str())
                || (!is_made && [CLUSTER, MEMBER].contains(&key.as_str()))
        };
        tags.keys().filter(is_journal).cloned().collect()
    }
}

/// The tags that must leave a volume for masters, `kops update cluster` and DLM to overlook it.
pub fn tags_to_retire(tags: &Tags, settings: &Settings) -> Tags {
    let is_target = |key: &str| settings.target_tags.iter().any(|tag| tag.key == key);
    tags.iter()
        .filter(|(key, value)| is_discovery_tag(key, value) || is_target(key))
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
    fn a_volume_is_known_by_the_restore_and_the_member_that_it_was_made_for() {
        let (id, key) = ("r-1f2e3d4c5b6a".into(), "main/a".parse().unwrap());
        let tags = made_by(&id, &"k8s.mycompany.tld".into(), &key);
        assert!(is_made_by(&tags, &id, &key));
        assert!(!is_made_by(&tags, &id, &"main/b".parse().unwrap()));
        assert!(!is_made_by(&tags, &"r-000000000000".into(), &key));
        assert_eq!(restored_by(&tags), Some(id.clone()));
        assert_eq!(tags.len(), ORIGIN_TAGS);
        let origin = Origin {
            restore_id: id,
            cluster: "k8s.mycompany.tld".into(),
            member: key,
        };
        assert_eq!(Origin::of(&tags), Some(origin));
        assert_eq!(Origin::of(&Tags::new()), None);
        assert_eq!(Retirement::keys(&tags), Vec::<String>::new());
    }

    #[test]
    fn a_retirement_survives_the_round_trip_and_keeps_other_tags_out() {
        for (by, replaced_by) in [("r-1f2e3d4c5b6a", Some("vol-0n")), ("u-1f2e3d4c5b6a", None)] {
            let retirement = retirement(by, replaced_by);
            assert!(!retirement.was.contains_key("owner"));
            let mut written = retirement.tags();
            let journal =
                retirement.journal(&"k8s.mycompany.tld".into(), &"main/a".parse().unwrap());
            let told: Tags = journal.iter().cloned().collect();
            assert_eq!(Retirement::of(&told).as_ref(), Some(&retirement));
            assert_eq!(Retirement::keys(&told).len(), journal.len());
            assert_eq!(journal[0].0, RETIRED_BY);
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
