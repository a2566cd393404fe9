//! What stands on the snapshots afterwards.
//!
//! A snapshot carries the verdict on its etcd cluster at its restore point, not the one on its member: it
//! is the etcd cluster that is restored, and of three members one may be damaged.

use etcd_backup_core::Tags;
use etcd_backup_core::aws::AwsError;
use etcd_backup_core::discovery::CLUSTER;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::restore_tags::TAGS_MAX;
use etcd_backup_core::verdict::{
    CLUSTER_ID, OBJECTS, START_FIRST, VERIFIED, VERIFIED_REVISION, VERIFIED_SNAPSHOT,
};

use super::assessment::{Assessment, EtcdClusterAssessment};
use super::choice::Chosen;
use super::earlier::write_objects;

/// EC2's code for what a policy doesn't allow.
const UNAUTHORIZED: &str = "UnauthorizedOperation";

/// The tags of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotTags {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// What to write.
    pub tags: Tags,
}

/// What is written down of an assessment: of the etcd clusters whose verdict stands.
pub fn of(chosen: &Chosen, assessment: &Assessment) -> Vec<SnapshotTags> {
    let etcd_clusters = assessment.etcd_clusters.iter().filter(|of| of.stands);
    etcd_clusters
        .flat_map(|of| {
            of.sources
                .iter()
                .enumerate()
                .map(move |(at, source)| (of, at, source))
        })
        .map(|(of, at, source)| {
            let mut targets = chosen.targets.iter();
            let target = targets.find(|target| target.snapshot.id == source.snapshot_id);
            let no_tags = Tags::new();
            let existing = target.map_or(&no_tags, |target| &target.snapshot.tags);
            SnapshotTags {
                snapshot_id: source.snapshot_id.clone(),
                tags: fitting(wanted(of, at, existing), existing),
            }
        })
        .collect()
}

/// In the order of their weight. What has nothing to say now, and stands there of an earlier verdict or of a
/// copy, is emptied: verify may write its tags, and take none off.
fn wanted(of: &EtcdClusterAssessment, at: usize, existing: &Tags) -> Vec<(&'static str, String)> {
    let mut wanted = vec![(VERIFIED, of.verdict.name().to_owned())];
    let source = of.sources.get(at);
    wanted.extend(source.map(|of| (VERIFIED_SNAPSHOT, of.snapshot_id.to_string())));
    let member = of.report.members.get(at);
    let is_first = member.is_some_and(|member| of.report.start_first.contains(&member.member));
    let revision = member.and_then(|member| member.revision);
    let objects = member.and_then(|member| member.objects.as_ref());
    let details = [
        (START_FIRST, is_first.then(|| "1".to_owned())),
        (
            VERIFIED_REVISION,
            revision.map(|revision| revision.to_string()),
        ),
        (CLUSTER_ID, of.report.cluster_id.clone()),
        (OBJECTS, objects.and_then(write_objects)),
    ];
    wanted.extend(details.into_iter().filter_map(|(key, value)| {
        let emptied = || existing.contains_key(key).then(String::new);
        Some((key, value.or_else(emptied)?))
    }));
    wanted
}

/// Whether a verdict can be written on a snapshot with these tags.
pub fn takes_verdict(existing: &Tags) -> bool {
    existing.contains_key(CLUSTER) && (existing.contains_key(VERIFIED) || room(existing) > 0)
}

/// As many as EC2 takes beside those that are there.
fn fitting(wanted: Vec<(&'static str, String)>, existing: &Tags) -> Tags {
    let mut room = room(existing);
    let mut tags = Tags::new();
    for (key, value) in wanted {
        let is_new = !existing.contains_key(key);
        if is_new && room == 0 {
            continue;
        }
        room -= usize::from(is_new);
        tags.insert(key.to_owned(), value);
    }
    tags
}

fn room(existing: &Tags) -> usize {
    let counted = existing.keys().filter(|key| !key.starts_with("aws:"));
    TAGS_MAX.saturating_sub(counted.count())
}

/// Notes what became of writing them: which etcd clusters' verdicts now stand on all of their snapshots, and
/// why others' don't.
///
/// # Errors
///
/// The first failure that may not come again. That this function may not write on a snapshot without its
/// cluster's tag is none: it is so each time.
pub fn note(
    assessment: &mut Assessment,
    chosen: &Chosen,
    written: &[(SnapshotTags, Result<(), AwsError>)],
) -> Result<(), AwsError> {
    let mut failure = None;
    for of in assessment.etcd_clusters.iter_mut().filter(|of| of.stands) {
        of.is_tagged = true;
        for source in &of.sources {
            let id = &source.snapshot_id;
            let mut targets = chosen.targets.iter().map(|target| &target.snapshot);
            let existing = targets.find(|snapshot| snapshot.id == *id);
            let is_of_cluster = existing.is_some_and(|of| of.tags.contains_key(CLUSTER));
            let result = written.iter().find(|(tags, _)| tags.snapshot_id == *id);
            let why = match result {
                Some((tags, Ok(()))) if tags.tags.contains_key(VERIFIED) => continue,
                Some((_, Err(error))) if is_of_cluster || !error.is(UNAUTHORIZED) => {
                    failure.get_or_insert_with(|| error.clone());
                    of.is_tagged = false;
                    continue;
                }
                Some((_, Err(_))) => format!(
                    "{id} has no tag {CLUSTER}, and this function may write on no other snapshots: add it, on the volume too, so that later snapshots have it."
                ),
                _ => format!(
                    "{id} has {TAGS_MAX} tags, the most that EC2 takes: the verdict isn't written on it. Take one off, of the volume too."
                ),
            };
            of.is_tagged = false;
            of.report.warnings.push(why);
        }
    }
    failure.map_or(Ok(()), Err)
}
