//! The snapshots that a person named by hand, one for each member.
//!
//! Invariant: a snapshot that says whose it is goes to no other member and no other cluster; what says nothing
//! is taken at the person's word.

use std::collections::BTreeMap;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{Identity, cluster_of};
use etcd_backup_core::ids::{ClusterName, MemberKey, SnapshotId};
use etcd_backup_core::restore_point::History;
use etcd_backup_core::restore_tags;
use etcd_backup_core::snapshot::Snapshot;

use super::{Choice, before_blank};
use crate::collect::inventory::Inventory;
use crate::decide::list::list;
use crate::event::Request;

/// What the event names, if every snapshot of it may be what it is named for.
pub(super) fn choose(
    request: &Request,
    inventory: &Inventory,
    history: &History,
    named: &BTreeMap<MemberKey, SnapshotId>,
) -> Result<Choice, Diagnostic> {
    let mut snapshots = BTreeMap::new();
    for (key, id) in named {
        let found = inventory.named_snapshots.get(id);
        let snapshot = found.ok_or_else(|| {
            Diagnostic::invalid_event(format!(
                "{id}, which \"snapshots\" names for {key}, is not a snapshot of this account and Region"
            ))
        })?;
        refuse_foreign(request, key, snapshot, inventory)?;
        refuse_unknown(key, snapshot, inventory)?;
        let mut chosen = snapshots.iter();
        if let Some((other, _)) =
            chosen.find(|(_, other): &(&MemberKey, &Snapshot)| other.id == *id)
        {
            return Err(Diagnostic::invalid_event(format!(
                "\"snapshots\" names {id} for both {other} and {key}"
            )));
        }
        snapshots.insert(key.clone(), snapshot.clone());
    }
    let before = snapshots
        .iter()
        .filter(|(key, snapshot)| history.is_before_live(key, snapshot));
    let warning = before_blank(before.map(|(key, _)| key));
    Ok(Choice {
        warnings: warning.into_iter().collect(),
        ..Choice::new(None, snapshots)
    })
}

/// A typing error would make a volume that masters find beside another member's.
fn refuse_unknown(
    key: &MemberKey,
    snapshot: &Snapshot,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let members = &inventory.cluster.members;
    let says_itself = || matches!(Identity::of(&snapshot.tags), Some(Ok(_)));
    // A member counts as known also where only its peers' snapshots name it.
    let peers = members
        .iter()
        .filter(|(peer, _)| peer.etcd_cluster == key.etcd_cluster);
    let mut of_peers = peers.flat_map(|(_, peer)| &peer.snapshots);
    let is_named = of_peers.any(|of_peer| of_peer.members.contains(&key.member));
    if members.is_empty() || members.contains_key(key) || is_named || says_itself() {
        return Ok(());
    }
    Err(Diagnostic::invalid_event(format!(
        "\"snapshots\" names {key}, which nothing knows; there is {}",
        list(members.keys())
    )))
}

/// Whose data a snapshot holds, as far as its tags tell; where they don't, its volume's.
fn whose(snapshot: &Snapshot, inventory: &Inventory) -> (Option<ClusterName>, Option<MemberKey>) {
    let volume = inventory.volumes.get(&snapshot.volume_id);
    let volume = volume.or_else(|| inventory.named_volumes.get(&snapshot.volume_id));
    let all_tags = std::iter::once(&snapshot.tags).chain(volume.map(|volume| &volume.tags));
    let owners = all_tags.map(|tags| {
        let identity = Identity::of(tags).and_then(Result::ok);
        let member = identity.map(|identity| identity.member_key());
        match (cluster_of(tags), member, restore_tags::member_of(tags)) {
            (None, None, Some((cluster, member))) => (Some(cluster), Some(member)),
            (cluster, member, _) => (cluster, member),
        }
    });
    let mut owners = owners.filter(|(cluster, member)| cluster.is_some() || member.is_some());
    owners.next().unwrap_or_default()
}

/// A snapshot of which nothing tells, as a copy, may be anybody's; one that says whose it is, is taken
/// at its word: peers' names hold the cluster's name, so that no other cluster could use it.
fn refuse_foreign(
    request: &Request,
    key: &MemberKey,
    snapshot: &Snapshot,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let id = &snapshot.id;
    let (owner, member) = whose(snapshot, inventory);
    if let Some(owner) = owner.filter(|owner| *owner != request.cluster) {
        return Err(Diagnostic::invalid_event(format!(
            "{id}, which \"snapshots\" names for {key}, belongs to {owner}: a restore into another cluster \
             can't work, as etcd's peers are known by the cluster's name"
        )));
    }
    if let Some(member) = member.filter(|member| member != key) {
        return Err(Diagnostic::invalid_event(format!(
            "{id}, which \"snapshots\" names for {key}, is of {member}"
        )));
    }
    if request
        .etcd_clusters
        .as_ref()
        .is_some_and(|asked| !asked.contains(&key.etcd_cluster))
    {
        return Err(Diagnostic::invalid_event(format!(
            "\"snapshots\" names {key}, which \"etcd_clusters\" leaves out"
        )));
    }
    if snapshot.is_usable() {
        Ok(())
    } else {
        Err(Diagnostic::new(
            ErrorType::NoRestorePoint,
            format!(
                "{id}, which \"snapshots\" names for {key}, is not completed, or is in the archive tier"
            ),
        ))
    }
}
