//! Whether there is room for the tags that come on top of a volume's own.
//!
//! EC2 takes 50 tags of a resource. DLM copies all of a volume's onto each snapshot and adds some; a
//! restore copies them onto the new volume and adds others. Where they don't fit there is no snapshot, or
//! no restore, and the day of the restore is the wrong one to learn of it.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::discovery::{CLUSTER, NAME};
use etcd_backup_core::restore_tags::{ORIGIN_TAGS, PREFIX, TAGS_MAX};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;

/// DLM marks its snapshots with one tag that counts, beside some beginning with `aws:`, which don't.
///
/// Source: Amazon EBS user guide, "Automate backups with Amazon Data Lifecycle Manager", tags.
const DLM_TAG: &str = "dlm:managed";

/// What doesn't fit, with the numbers.
pub fn problems(settings: &Settings, volume: &Volume, latest: Option<&Snapshot>) -> Vec<String> {
    [
        snapshot_problem(settings, volume),
        restore_problem(settings, volume, latest),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn snapshot_problem(settings: &Settings, volume: &Volume) -> Option<String> {
    let own = counted(&volume.tags);
    let added = settings.tags_to_add.iter().map(|tag| tag.key.as_str());
    let all: BTreeSet<&str> = own.iter().copied().chain(added).chain([DLM_TAG]).collect();
    (all.len() > TAGS_MAX).then(|| {
        format!(
            "a snapshot of it would need {} tags ({} of its own; DLM adds {}), and EC2 allows {TAGS_MAX}: take \
             {} off that nobody needs",
            all.len(),
            own.len(),
            named(all.difference(&own)),
            all.len() - TAGS_MAX
        )
    })
}

fn restore_problem(
    settings: &Settings,
    volume: &Volume,
    latest: Option<&Snapshot>,
) -> Option<String> {
    let is_own = |key: &&str| !key.starts_with("dlm:") && !key.starts_with(PREFIX);
    let of_volume = counted(&volume.tags).into_iter();
    let of_snapshot = latest.map(|snapshot| counted(&snapshot.tags));
    let of_snapshot = of_snapshot.into_iter().flatten();
    let copied: BTreeSet<&str> = of_volume
        .chain(of_snapshot.filter(|key| !settings.adds_tag(key)))
        .filter(is_own)
        .chain([CLUSTER, NAME])
        .collect();
    let needed = copied.len() + ORIGIN_TAGS;
    (needed > TAGS_MAX).then(|| {
        format!(
            "a volume restored from its latest snapshot would need {needed} tags ({} of the two; restore adds \
             {ORIGIN_TAGS}), and EC2 allows {TAGS_MAX}: take {} off that nobody needs",
            copied.len(),
            needed - TAGS_MAX
        )
    })
}

/// The keys of the tags that count: those beginning with `aws:` don't.
fn counted(tags: &Tags) -> BTreeSet<&str> {
    let keys = tags.keys().map(String::as_str);
    keys.filter(|key| !key.starts_with("aws:")).collect()
}

fn named<'a>(keys: impl Iterator<Item = &'a &'a str>) -> String {
    let keys: Vec<&str> = keys.copied().collect();
    keys.join(", ")
}
