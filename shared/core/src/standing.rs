//! How a restore stands, told by nothing but the volumes: what it brought in, what that replaced, and
//! whether it was undone.
//!
//! A restore and an undo leave the same traces. Both take some volumes out of the masters' sight, each
//! with a journal ([`Retirement`]), and put others in their place; an undo's journals also say what they
//! undo. So an undo can itself be undone, by its own id.
//!
//! Nothing here leans on a tag of a live volume, as `kops update cluster` takes those off: a restored
//! volume without its [`Origin`] is still known by the journal of the volume that it replaced.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::discovery::Identity;
use crate::fleet::Cluster;
use crate::ids::{MemberKey, RestoreId, VolumeId};
use crate::restore_tags::{Origin, Retirement};
use crate::volume::Volume;

/// What the volumes tell of one restore, or of one undo.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its id.
    pub id: RestoreId,
    /// By member.
    pub members: BTreeMap<MemberKey, Sides>,
}

/// The two sides of one member's exchange.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    /// The volumes that it made or put back for the member: one, and any that failed before.
    pub brought: Vec<Volume>,
    /// The volumes whose place that took; none where the old one was gone.
    pub replaced: Vec<Volume>,
}

impl Standing {
    /// `None` when no volume knows of it.
    pub fn of(cluster: &Cluster, id: &RestoreId) -> Option<Self> {
        let mut members: BTreeMap<MemberKey, Sides> = BTreeMap::new();
        let brought = brought(cluster, id);
        for (key, volume) in cluster.all_volumes() {
            if brought.contains(&volume.id) {
                let sides = members.entry(key.clone()).or_default();
                sides.brought.push(volume.clone());
            } else if is_replaced(cluster, volume, id, &brought) {
                let sides = members.entry(key.clone()).or_default();
                sides.replaced.push(volume.clone());
            }
        }
        (!members.is_empty()).then(|| Self {
            id: id.clone(),
            members,
        })
    }

    /// What the restore wrote on its volumes, where kops left it on one of them.
    pub fn origin(&self) -> Option<Origin> {
        let mut origins = self.brought().filter_map(|volume| Origin::of(&volume.tags));
        origins.find(|origin| origin.restore_id == self.id)
    }

    /// The restore that took the place of what this one brought, without being its undo.
    pub fn superseded_by(&self) -> Option<RestoreId> {
        let later = self.brought().filter(|volume| !is_live(volume));
        later
            .filter_map(|volume| Retirement::of(&volume.tags))
            .find(|journal| journal.undoes.as_ref() != Some(&self.id))
            .map(|journal| journal.restore_id)
    }

    /// Whether an undo of it has begun.
    pub fn is_undo_begun(&self) -> bool {
        self.brought().any(|volume| self.is_given_up(volume))
    }

    /// Whether an undo of it is done: all that it brought is given up, and what that replaced is as it
    /// was before.
    pub fn is_undone(&self) -> bool {
        let ids: BTreeSet<_> = self.brought().map(|volume| &volume.id).collect();
        let is_back = |volume: &Volume| {
            let journal = Retirement::of(&volume.tags);
            journal.is_none_or(|journal| {
                let replaced_by = journal.replaced_by.as_ref();
                replaced_by.is_none_or(|volume| !ids.contains(volume))
            })
        };
        let mut replaced = self.members.values().flat_map(|sides| &sides.replaced);
        !ids.is_empty()
            && self
                .brought()
                .all(|volume| self.is_given_up(volume) && !is_live(volume))
            && replaced.all(is_back)
    }

    /// Whether this restore's undo has written its journal on a volume.
    pub fn is_given_up(&self, volume: &Volume) -> bool {
        let journal = Retirement::of(&volume.tags);
        journal.is_some_and(|journal| journal.undoes.as_ref() == Some(&self.id))
    }

    fn brought(&self) -> impl Iterator<Item = &Volume> {
        self.members.values().flat_map(|sides| &sides.brought)
    }
}

/// Whether masters find a volume, or would if its etcd tag were well-formed.
pub fn is_live(volume: &Volume) -> bool {
    Identity::of(&volume.tags).is_some()
}

/// The restore, or the undo, whose undoing began and didn't end. Only the newest exchange can be in the
/// middle of something, as none begins before the one before it is over.
pub fn being_undone(cluster: &Cluster) -> Option<RestoreId> {
    let journals = cluster
        .all_volumes()
        .filter_map(|(_, volume)| Retirement::of(&volume.tags));
    let undoes = journals.max_by_key(|journal| journal.at)?.undoes?;
    let is_undone = Standing::of(cluster, &undoes)?.is_undone();
    (!is_undone).then_some(undoes)
}

/// The newest restore of which a volume is left, undone or not; undos don't count.
pub fn newest_restore(cluster: &Cluster) -> Option<RestoreId> {
    let ids = cluster.all_volumes().flat_map(|(_, volume)| {
        let by_origin = Origin::of(&volume.tags).map(|origin| origin.restore_id);
        let journal = Retirement::of(&volume.tags).filter(|journal| journal.undoes.is_none());
        [by_origin, journal.map(|journal| journal.restore_id)]
    });
    let ids: BTreeSet<RestoreId> = ids.flatten().collect();
    // By EC2's own clock alone: the time in a journal is another machine's.
    let made = |id: &RestoreId| -> Option<Timestamp> {
        let standing = Standing::of(cluster, id)?;
        standing.brought().map(|volume| volume.created).max()
    };
    ids.into_iter().max_by_key(made)
}

fn brought(cluster: &Cluster, id: &RestoreId) -> BTreeSet<VolumeId> {
    let mut brought = BTreeSet::new();
    for (_, volume) in cluster.all_volumes() {
        let journal = Retirement::of(&volume.tags);
        let is_made = Origin::of(&volume.tags).is_some_and(|origin| origin.restore_id == *id);
        let is_given_up = journal
            .as_ref()
            .is_some_and(|journal| journal.undoes.as_ref() == Some(id));
        if is_made || is_given_up {
            brought.insert(volume.id.clone());
        }
        let own = journal.filter(|journal| journal.restore_id == *id);
        brought.extend(own.and_then(|journal| journal.replaced_by));
    }
    brought
}

fn is_replaced(
    cluster: &Cluster,
    volume: &Volume,
    id: &RestoreId,
    brought: &BTreeSet<VolumeId>,
) -> bool {
    let says_so = Retirement::of(&volume.tags).is_some_and(|journal| {
        let replaced_by = journal.replaced_by.as_ref();
        journal.restore_id == *id || replaced_by.is_some_and(|other| brought.contains(other))
    });
    // One that an undo put back has lost its journal; the one that it gave up remembers.
    let mut given_up = cluster.all_volumes().filter_map(|(_, other)| {
        let journal = Retirement::of(&other.tags)?;
        (journal.undoes.as_ref() == Some(id)).then_some(journal.replaced_by?)
    });
    says_so || given_up.any(|other| other == volume.id)
}
