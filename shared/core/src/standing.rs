//! How a restore stands, told by nothing but the volumes: what it brought in, what that replaced, and
//! whether it was undone.
//!
//! A restore takes the old volumes out of the masters' sight, each with a journal ([`Retirement`]) signed
//! with its id, and puts the new ones in their place. Its undo does the same the other way round, and
//! signs with its own; undoing that is the restore's exchange once more, and leaves what the restore left.
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

/// What the volumes tell of one restore.
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
    /// The volumes that it made for the member: one, and any that failed before.
    pub brought: Vec<Volume>,
    /// The volumes whose place that took; none where the old one was gone.
    pub replaced: Vec<Volume>,
}

/// A restore's exchange, the other way round or once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// What was replaced comes back.
    Undo,
    /// The undo is undone: what was brought comes back.
    Redo,
}

impl Standing {
    /// `None` when no volume knows of it.
    pub fn of(cluster: &Cluster, id: &RestoreId) -> Option<Self> {
        let (brought, replaced) = sides(cluster, id);
        let mut members: BTreeMap<MemberKey, Sides> = BTreeMap::new();
        for (key, volume) in cluster.all_volumes() {
            if brought.contains(&volume.id) {
                let sides = members.entry(key.clone()).or_default();
                sides.brought.push(volume.clone());
            } else if replaced.contains(&volume.id) {
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

    /// The restore that took the place of what this one brought, or of what its undo put back.
    pub fn superseded_by(&self) -> Option<RestoreId> {
        let volumes = self.brought().chain(self.replaced());
        let out = volumes.filter(|volume| !is_live(volume));
        let journals = out.filter_map(|volume| Retirement::of(&volume.tags));
        let mut by = journals.map(|journal| journal.restore_id);
        by.find(|by| by.restore() != self.id)
    }

    /// Whether all that it brought is in service.
    pub fn is_finished(&self) -> bool {
        let sides = || self.members.values();
        sides().all(|sides| sides.brought.iter().any(is_live))
    }

    /// Whether its undo is done: all that it brought is given up, and what that replaced is back.
    pub fn is_undone(&self) -> bool {
        let mut brought = self.brought().peekable();
        brought.peek().is_some()
            && brought.all(|volume| self.is_given_up(volume) && !is_live(volume))
            && !self.replaced().any(|volume| self.has_retired(volume))
    }

    /// Whether the undo's undo is done: what the restore brought is in service again, and what that
    /// replaced is not.
    pub fn is_redone(&self) -> bool {
        let was_tagged = |volume: &&Volume| is_live(volume) || has_memory(volume);
        let mut brought = self.brought().filter(was_tagged).peekable();
        brought.peek().is_some()
            && brought.all(|volume| is_live(volume) && !self.is_given_up(volume))
            && !self.replaced().any(is_live)
    }

    /// The way it went last: an undo, done or not; or an undo's undo that isn't done. `None` where it
    /// stands as it was made.
    pub fn turn(&self) -> Option<Turn> {
        let volumes = self.brought().chain(self.replaced());
        let journals = volumes.filter_map(|volume| Retirement::of(&volume.tags));
        let own = journals.filter(|journal| journal.restore_id.restore() == self.id);
        let newest = own.max_by_key(|journal| journal.at)?;
        let is_redo = self
            .brought()
            .any(|volume| self.is_given_up(volume) && has_memory(volume));
        match newest.restore_id.is_undo() {
            true => Some(Turn::Undo),
            false => is_redo.then_some(Turn::Redo),
        }
    }

    /// Whether the restore's undo has written its journal on a volume.
    pub fn is_given_up(&self, volume: &Volume) -> bool {
        let journal = Retirement::of(&volume.tags);
        journal.is_some_and(|journal| journal.restore_id == self.id.undo())
    }

    /// Whether the restore itself has written its journal on a volume.
    pub fn has_retired(&self, volume: &Volume) -> bool {
        let journal = Retirement::of(&volume.tags);
        journal.is_some_and(|journal| journal.restore_id == self.id)
    }

    /// All that it brought.
    pub fn brought(&self) -> impl Iterator<Item = &Volume> {
        self.members.values().flat_map(|sides| &sides.brought)
    }

    /// All that this replaced.
    pub fn replaced(&self) -> impl Iterator<Item = &Volume> {
        self.members.values().flat_map(|sides| &sides.replaced)
    }
}

/// Whether masters find a volume, or would if its etcd tag were well-formed.
pub fn is_live(volume: &Volume) -> bool {
    Identity::of(&volume.tags).is_some()
}

/// Whether a volume's journal remembers the tags that make it some member's.
pub fn has_memory(volume: &Volume) -> bool {
    Retirement::of(&volume.tags).is_some_and(|journal| !journal.was.is_empty())
}

/// The restore whose undo, or whose undo's undo, began and didn't end. Only the newest exchange can be
/// in the middle of something, as none begins before the one before it is over.
pub fn being_turned(cluster: &Cluster) -> Option<(Standing, Turn)> {
    let journals = cluster
        .all_volumes()
        .filter_map(|(_, volume)| Retirement::of(&volume.tags));
    let newest = journals.max_by_key(|journal| journal.at)?;
    let standing = Standing::of(cluster, &newest.restore_id.restore())?;
    let turn = standing.turn()?;
    let is_over = match turn {
        Turn::Undo => standing.is_undone(),
        Turn::Redo => standing.is_redone(),
    };
    (!is_over).then_some((standing, turn))
}

/// The newest restore of which a volume is left, undone or not.
pub fn newest_restore(cluster: &Cluster) -> Option<RestoreId> {
    let ids = cluster.all_volumes().flat_map(|(_, volume)| {
        let by_origin = Origin::of(&volume.tags).map(|origin| origin.restore_id);
        let by_journal = Retirement::of(&volume.tags).map(|journal| journal.restore_id.restore());
        [by_origin, by_journal]
    });
    let ids: BTreeSet<RestoreId> = ids.flatten().collect();
    // By EC2's own clock alone: the time in a journal is another machine's.
    let made = |id: &RestoreId| -> Option<Timestamp> {
        let standing = Standing::of(cluster, id)?;
        standing.brought().map(|volume| volume.created).max()
    };
    ids.into_iter().max_by_key(made)
}

/// A restore whose new volumes are all gone while what they replaced is still out of service: nobody's
/// volume is in the member's place.
pub fn stranded(cluster: &Cluster) -> Option<RestoreId> {
    let members = cluster.members.values();
    let without = members.filter(|member| member.volumes.is_empty());
    let journals = without.flat_map(|member| member.retired.iter().map(|(by, _)| by));
    let own = journals.filter(|by| !by.restore_id.is_undo());
    let newest = own.max_by_key(|by| by.at)?;
    let standing = Standing::of(cluster, &newest.restore_id)?;
    let is_gone = standing.brought().next().is_none();
    is_gone.then_some(standing.id)
}

/// What a restore brought, and what that replaced: by what stands on the volumes themselves, and by what
/// the journals of the other side say of them.
fn sides(cluster: &Cluster, id: &RestoreId) -> (BTreeSet<VolumeId>, BTreeSet<VolumeId>) {
    let (mut brought, mut replaced) = (BTreeSet::new(), BTreeSet::new());
    for (_, volume) in cluster.all_volumes() {
        if Origin::of(&volume.tags).is_some_and(|origin| origin.restore_id == *id) {
            brought.insert(volume.id.clone());
        }
        let Some(journal) = Retirement::of(&volume.tags) else {
            continue;
        };
        if journal.restore_id == *id {
            replaced.insert(volume.id.clone());
            brought.extend(journal.replaced_by);
        } else if journal.restore_id == id.undo() {
            brought.insert(volume.id.clone());
            replaced.extend(journal.replaced_by);
        }
    }
    (brought, replaced)
}
