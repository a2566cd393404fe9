//! Exchanges of a cluster's volumes: by restores, their undos, and those taken back.

mod bounds;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::fleet::{Cluster, Member};
use crate::ids::{MemberKey, RestoreId, SnapshotId, VolumeId};
use crate::restore_tags::{Retirement, restored_by};
use crate::volume::Volume;

/// Volumes of a cluster's members put in the place of others, all at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The restore whose exchange it is, once or once more, or the undo.
    pub id: RestoreId,
    /// When the first outgoing volume left the masters' sight.
    pub at: Timestamp,
    /// What became of each member.
    pub members: BTreeMap<MemberKey, MemberExchange>,
}

/// One member's part of an [`Exchange`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberExchange {
    /// The volumes that masters found before; none where they were gone.
    pub outgoing: Vec<VolumeId>,
    /// The volumes that masters found after it; none where an undo had nothing to put back.
    pub incoming: Vec<Incoming>,
}

/// A volume that came into service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The volume.
    pub volume: VolumeId,
    /// The snapshot that it was made from, where the source of the exchange knows.
    pub made_from: Option<SnapshotId>,
    /// Whether it was in service before: by an undo. Whatever it was made from then, it wasn't this
    /// exchange that made it.
    pub returns: bool,
}

/// All exchanges of a cluster, the earliest first: those that are recorded (each restore's in their
/// order), and of restores without a record those that the tags on volumes and snapshots still tell.
///
/// A record's and a journal's times are of the clock that the function had; they are put right by what
/// EC2's own clock tells of the volumes and snapshots.
pub fn exchanges(cluster: &Cluster, recorded: Vec<Exchange>) -> Vec<Exchange> {
    let mut by_restore: BTreeMap<RestoreId, Vec<Exchange>> = BTreeMap::new();
    for exchange in recorded {
        let of_restore = by_restore.entry(exchange.id.restore()).or_default();
        of_restore.push(exchange);
    }
    let is_recorded: BTreeSet<RestoreId> = by_restore.keys().cloned().collect();
    for exchange in exchanges_by_tags(cluster) {
        let restore = exchange.id.restore();
        if !is_recorded.contains(&restore) {
            by_restore.entry(restore).or_default().push(exchange);
        }
    }
    for of_restore in by_restore.values_mut() {
        bounds::put_right(cluster, of_restore);
    }
    let mut all: Vec<Exchange> = by_restore.into_values().flatten().collect();
    all.sort_by_key(|exchange| exchange.at);
    all
}

/// At most one exchange and one undo of each restore, in this order.
fn exchanges_by_tags(cluster: &Cluster) -> Vec<Exchange> {
    let mut found: BTreeMap<RestoreId, ExchangeByTags> = BTreeMap::new();
    for (key, member) in &cluster.members {
        add_from_volumes(&mut found, key, member);
        add_from_snapshots(&mut found, key, member);
    }
    let found = found.into_iter();
    let mut exchanges: Vec<Exchange> = found
        .filter_map(|(id, by_tags)| by_tags.exchange(id))
        .collect();
    exchanges.sort_by_key(|exchange| exchange.id.is_undo());
    exchanges
}

/// One exchange, as far as tags show it.
#[derive(Debug, Default)]
struct ExchangeByTags {
    /// The earliest time in a journal.
    retired: Option<Timestamp>,
    /// The creation of the last volume made: none was exchanged before.
    made: Option<Timestamp>,
    /// The start of the first snapshot of a volume that is gone.
    seen: Option<Timestamp>,
    members: BTreeMap<MemberKey, MemberExchange>,
}

impl ExchangeByTags {
    fn member(&mut self, key: &MemberKey) -> &mut MemberExchange {
        self.members.entry(key.clone()).or_default()
    }

    fn exchange(self, id: RestoreId) -> Option<Exchange> {
        Some(Exchange {
            at: self.retired.or(self.made).or(self.seen)?,
            id,
            members: self.members,
        })
    }
}

impl MemberExchange {
    fn goes_out(&mut self, volume: &VolumeId) {
        if !self.outgoing.contains(volume) {
            self.outgoing.push(volume.clone());
        }
    }

    fn comes_in(&mut self, volume: &VolumeId, returns: bool) {
        if self.incoming.iter().all(|known| known.volume != *volume) {
            self.incoming.push(Incoming {
                volume: volume.clone(),
                made_from: None,
                returns,
            });
        }
    }
}

fn add_from_volumes(
    found: &mut BTreeMap<RestoreId, ExchangeByTags>,
    key: &MemberKey,
    member: &Member,
) {
    let mut made = |volume: &Volume| {
        if let Some(id) = restored_by(&volume.tags) {
            let exchange = found.entry(id).or_default();
            exchange.made = exchange.made.max(Some(volume.created));
            exchange.member(key).comes_in(&volume.id, false);
        }
    };
    member.volumes.iter().for_each(&mut made);
    let was_in_service = |(by, _): &&(Retirement, Volume)| !by.was.is_empty();
    let retired = || member.retired.iter().filter(was_in_service);
    retired().for_each(|(_, volume)| made(volume));
    for (by, volume) in retired() {
        let is_undo = by.restore_id.is_undo();
        let exchange = found.entry(by.restore_id.clone()).or_default();
        exchange.retired = Some(exchange.retired.map_or(by.at, |at| at.min(by.at)));
        let of_member = exchange.member(key);
        of_member.goes_out(&volume.id);
        let Some(replaced_by) = &by.replaced_by else {
            continue;
        };
        of_member.comes_in(replaced_by, is_undo);
        // An undo takes the restore's journal off the volume that it puts back; its own journal tells the
        // same.
        if is_undo {
            let restored = found.entry(by.restore_id.restore()).or_default();
            restored.member(key).goes_out(replaced_by);
        }
    }
}

/// Snapshots carry their volume's tags: they tell of volumes that are gone, and of live ones from
/// which `kops update cluster` has taken our tags since.
fn add_from_snapshots(
    found: &mut BTreeMap<RestoreId, ExchangeByTags>,
    key: &MemberKey,
    member: &Member,
) {
    let mut last: Option<&VolumeId> = None;
    for of_member in &member.snapshots {
        let snapshot = &of_member.snapshot;
        let Some(id) = restored_by(&snapshot.tags) else {
            continue;
        };
        // Most snapshots follow one of the same volume, and are skipped.
        if last.replace(&snapshot.volume_id) == Some(&snapshot.volume_id) {
            continue;
        }
        let exchange = found.entry(id).or_default();
        let mut existing = member.volumes.iter();
        match existing.find(|volume| volume.id == snapshot.volume_id) {
            Some(volume) => exchange.made = exchange.made.max(Some(volume.created)),
            None => {
                let earliest = exchange
                    .seen
                    .map_or(snapshot.started, |seen| seen.min(snapshot.started));
                exchange.seen = Some(earliest);
            }
        }
        exchange.member(key).comes_in(&snapshot.volume_id, false);
    }
}
