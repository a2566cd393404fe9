//! What the audit reads of an account: one listing of volumes, one of snapshots, the DLM policies; of
//! autoscaling groups and masters only where something there asks for them.

use std::collections::BTreeSet;

use etcd_backup_core::aws::{
    AllMasters, AwsError, Filter, Groups, Storage, SuspendedGroup, TaggedMaster,
};
use etcd_backup_core::discovery::ETCD_PREFIX;
use etcd_backup_core::fleet::{Fleet, snapshot_filters};
use etcd_backup_core::ids::{ClusterName, GroupName, PolicyId};
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, Policies, PolicyKind, PolicyState, PolicySummary, ours,
};
use etcd_backup_core::listing::Listing;
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::restore_table::RestoreTable;
use etcd_backup_core::restore_tags::PREFIX;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::recorded::RecordedRestores;

/// How many clusters' records are read at the same time.
const RECORDS_READ_AT_ONCE: usize = 16;
/// How many policies are read at the same time: an account may have a hundred.
const POLICIES_READ_AT_ONCE: usize = 8;
/// How many values EC2 takes of one filter.
const FILTER_VALUES_MAX: usize = 200;

/// What an account holds.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The Region that was read.
    pub region: String,
    /// Etcd volumes, what restores left of them, and whatever else DLM takes.
    pub volumes: Vec<Volume>,
    /// Snapshots that the schedule may have made.
    pub snapshots: Listing<Snapshot>,
    /// The DLM policies that are ours; one, if all is well.
    pub policies: Vec<LifecyclePolicy>,
    /// Other people's enabled policies that take snapshots.
    pub other_policies: Vec<LifecyclePolicy>,
    /// All policies there are.
    pub policy_ids: BTreeSet<PolicyId>,
    /// What is recorded of restores.
    pub restores: RecordedRestores,
    /// Autoscaling groups whose launches a restore suspended; read only where a record or a volume tells
    /// of one.
    pub suspended_groups: Vec<SuspendedGroup>,
    /// The masters of all clusters; read only where a policy may take volumes by their instances' tags,
    /// or where a restore took a volume out of service.
    pub masters: Vec<TaggedMaster>,
}

/// Reads an account.
///
/// # Errors
///
/// When any page of any listing can't be read.
pub async fn collect(
    aws: &(impl Storage + Policies + Groups + AllMasters + RestoreTable),
    settings: &Settings,
    region: &str,
    asked: Option<&[ClusterName]>,
) -> Result<Inventory, AwsError> {
    let (volume_filters, snapshot_filters) = (volume_filters(settings), snapshot_filters(settings));
    let (volumes, snapshots, policies, restores) = tokio::try_join!(
        aws.volumes(&volume_filters),
        aws.snapshots(&snapshot_filters),
        policies(aws, settings),
        recorded_restores(aws, settings, asked),
    )?;
    let knows_of_restore = |volume: &Volume| volume.tags.keys().any(|key| key.starts_with(PREFIX));
    let is_any_unfinished = restores.unfinished_ones().next().is_some();
    let mut all_policies = policies.ours.iter().chain(&policies.others);
    let goes_by_instances = all_policies.any(|policy| policy.definition.is_for_instances());
    let suspended_groups = async {
        if is_any_unfinished || volumes.iter().any(knows_of_restore) {
            suspended_groups(aws, &restores).await
        } else {
            Ok(Vec::new())
        }
    };
    let masters = async {
        if goes_by_instances || restores.took_any_out_of_service() {
            aws.all_masters().await
        } else {
            Ok(Vec::new())
        }
    };
    let (suspended_groups, masters) = tokio::try_join!(suspended_groups, masters)?;
    Ok(Inventory {
        region: region.to_owned(),
        policies: policies.ours,
        other_policies: policies.others,
        policy_ids: policies.ids,
        volumes,
        snapshots: snapshots.into(),
        restores,
        suspended_groups,
        masters,
    })
}

/// Any volume that is etcd's, a restore's or DLM's business, and not thousands of other people's.
fn volume_filters(settings: &Settings) -> Vec<Filter> {
    let ours = [ETCD_PREFIX, PREFIX].map(|prefix| format!("{prefix}*"));
    let targets = settings.target_tags.iter().map(|tag| tag.key.clone());
    vec![Filter::new("tag-key", ours.into_iter().chain(targets))]
}

/// The records of the clusters asked for; without any, of all that have records. That is one query, and
/// one for each of those clusters: what no restore ever touched costs nothing.
async fn recorded_restores(
    aws: &(impl Storage + RestoreTable),
    settings: &Settings,
    asked: Option<&[ClusterName]>,
) -> Result<RecordedRestores, AwsError> {
    let Some(table) = &settings.restores_table else {
        return Ok(RecordedRestores::default());
    };
    let clusters = match asked {
        Some(asked) => asked.to_vec(),
        None => aws.clusters_with_records(table).await?,
    };
    let reads = clusters.into_iter().map(async |cluster| {
        let stored = aws.records(table, &cluster).await?;
        Ok((cluster, stored))
    });
    let mut restores = RecordedRestores::default();
    let mut reads = stream::iter(reads).buffer_unordered(RECORDS_READ_AT_ONCE);
    while let Some((cluster, stored)) = reads.try_next().await? {
        restores.add(cluster, &stored);
    }
    let ids: BTreeSet<String> = restores
        .unfinished_ones()
        .flat_map(|record| record.volume_ids())
        .map(ToString::to_string)
        .collect();
    for ids in Vec::from_iter(ids).chunks(FILTER_VALUES_MAX) {
        let found = aws.volumes(&[Filter::new("volume-id", ids)]).await?;
        let by_id = found.into_iter().map(|volume| (volume.id.clone(), volume));
        restores.volumes.extend(by_id);
    }
    Ok(restores)
}

/// The groups that carry a restore's tag, and those that a record names and somebody took the tag off.
async fn suspended_groups(
    aws: &impl Groups,
    restores: &RecordedRestores,
) -> Result<Vec<SuspendedGroup>, AwsError> {
    let mut groups = aws.suspended_groups().await?;
    for record in restores.unfinished_ones() {
        let is_untagged = |name: &&GroupName| groups.iter().all(|group| group.name != **name);
        let untagged: Vec<_> = record
            .suspended_groups
            .iter()
            .filter(is_untagged)
            .cloned()
            .collect();
        if !untagged.is_empty() {
            let suspended = aws.with_launches_suspended(&untagged).await?;
            groups.extend(suspended.into_iter().map(|name| SuspendedGroup {
                name,
                cluster: Some(record.cluster.clone()),
                by: record.id.clone(),
            }));
        }
    }
    Ok(groups)
}

/// The DLM policies of a Region.
struct AllPolicies {
    ours: Vec<LifecyclePolicy>,
    /// Other people's enabled ones that take snapshots.
    others: Vec<LifecyclePolicy>,
    ids: BTreeSet<PolicyId>,
}

async fn policies(aws: &impl Policies, settings: &Settings) -> Result<AllPolicies, AwsError> {
    let summaries = aws.policies().await?;
    let own: BTreeSet<&PolicyId> = ours(&summaries, settings)
        .into_iter()
        .map(|policy| &policy.id)
        .collect();
    // A default policy only makes snapshots of what nothing else has backed up lately, so that it doubles
    // none of ours.
    let is_other = |policy: &&PolicySummary| {
        policy.kind.snapshots_volumes()
            && policy.kind != PolicyKind::SnapshotsByDefault
            && policy.state == PolicyState::Enabled
            && !own.contains(&policy.id)
    };
    let others = summaries.iter().filter(is_other).map(|policy| &policy.id);
    let (ours, others) = tokio::try_join!(details(aws, own.iter().copied()), details(aws, others))?;
    Ok(AllPolicies {
        ours,
        others,
        ids: summaries.iter().map(|policy| policy.id.clone()).collect(),
    })
}

async fn details<'a>(
    aws: &impl Policies,
    ids: impl Iterator<Item = &'a PolicyId>,
) -> Result<Vec<LifecyclePolicy>, AwsError> {
    let reads = stream::iter(ids).map(|id| aws.policy(id));
    let found: Vec<_> = reads.buffered(POLICIES_READ_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

impl Inventory {
    /// The policy that converge keeps: the oldest of ours.
    pub fn policy(&self) -> Option<&LifecyclePolicy> {
        self.policies.iter().min_by_key(|policy| policy.created)
    }

    /// All that can have made a snapshot.
    pub fn makers(&self, settings: &Settings) -> Makers {
        Makers::new(&self.policy_ids, &self.policies, settings)
    }

    /// Volumes and snapshots sorted by cluster and member, without snapshots yet to come at `now`.
    pub fn fleet(&self, settings: &Settings, now: Timestamp) -> Fleet {
        let makers = self.makers(settings);
        Fleet::at(self.volumes.clone(), &self.snapshots, &makers, now)
    }
}
