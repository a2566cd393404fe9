//! What the records of restores say, as far as the audit needs it: a cluster's records can be many and
//! long, and all that is kept of them here is short.

use std::collections::BTreeMap;

use etcd_backup_core::generation::Exchange;
use etcd_backup_core::ids::{ClusterName, RestoreId, VolumeId};
use etcd_backup_core::restore_record::{Direction, RestoreRecord};
use etcd_backup_core::restore_table::StoredRecord;
use etcd_backup_core::volume::Volume;

/// The restores of an account.
#[derive(Clone, Debug, Default)]
pub struct RecordedRestores {
    /// By cluster; those that have records.
    pub clusters: BTreeMap<ClusterName, ClusterRestores>,
    /// The volumes of unfinished restores, also those that carry no tag of a restore.
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// Records that this program can't read.
    pub unreadable: Vec<UnreadableRecord>,
}

/// A record that this program can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord {
    /// The cluster that it is of.
    pub cluster: ClusterName,
    /// Which one it is, and why it can't be read.
    pub problem: String,
}

/// The restores of one cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterRestores {
    /// The one that has begun, or whose undo or redo has, and has not ended.
    pub unfinished: Option<RestoreRecord>,
    /// Each time that volumes were exchanged.
    pub exchanges: Vec<Exchange>,
    /// The volumes that are out of service, and what took them out last.
    pub out_of_service: BTreeMap<VolumeId, TakenOut>,
}

/// What took a volume out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenOut {
    /// The restore.
    pub restore_id: RestoreId,
    /// Which way it went.
    pub direction: Direction,
}

impl ClusterRestores {
    /// Sums up a cluster's records, the oldest first.
    pub fn of(records: Vec<RestoreRecord>) -> Self {
        let mut restores = Self::default();
        for record in records {
            restores.exchanges.extend(record.exchanges());
            restores.move_volumes(&record);
            if record.is_unfinished() {
                restores.unfinished = Some(record);
            }
        }
        restores
    }

    fn move_volumes(&mut self, record: &RestoreRecord) {
        // In the middle of a restore the volumes are where they should be, and a restore that was given up
        // has left them where they were.
        if record.is_unfinished() || record.abandoned_at.is_some() {
            self.out_of_service.retain(|id, _| {
                let mut own = record.volume_ids();
                own.all(|volume| volume != id)
            });
            return;
        }
        for member in record.members.values() {
            let made = || member.incoming.volume_id.iter();
            let was_there = || member.outgoing.iter().map(|volume| &volume.id);
            let (incoming, outgoing): (Vec<_>, Vec<_>) = if record.is_put_back() {
                (was_there().collect(), made().collect())
            } else {
                (made().collect(), was_there().collect())
            };
            for id in incoming {
                self.out_of_service.remove(id);
            }
            for id in outgoing {
                let taken_out = TakenOut {
                    restore_id: record.id.clone(),
                    direction: record.turn().direction,
                };
                self.out_of_service.insert(id.clone(), taken_out);
            }
        }
    }
}

impl RecordedRestores {
    /// Sums up a cluster's records, as the table gives them: newest first.
    pub fn add(&mut self, cluster: ClusterName, stored: &[StoredRecord]) {
        let mut records = Vec::new();
        for stored in stored.iter().rev() {
            match RestoreRecord::read(stored) {
                Ok(record) => records.push(record),
                Err(error) => self.unreadable.push(UnreadableRecord {
                    cluster: cluster.clone(),
                    problem: error.to_string(),
                }),
            }
        }
        if !records.is_empty() {
            self.clusters.insert(cluster, ClusterRestores::of(records));
        }
    }

    /// All restores that have not ended.
    pub fn unfinished_ones(&self) -> impl Iterator<Item = &RestoreRecord> {
        let clusters = self.clusters.values();
        clusters.filter_map(|restores| restores.unfinished.as_ref())
    }

    /// Whether any volume is out of service.
    pub fn took_any_out_of_service(&self) -> bool {
        let mut clusters = self.clusters.values();
        clusters.any(|restores| !restores.out_of_service.is_empty())
    }

    /// A cluster's restore that has not ended.
    pub fn unfinished(&self, cluster: &ClusterName) -> Option<&RestoreRecord> {
        self.clusters.get(cluster)?.unfinished.as_ref()
    }

    /// The exchanges of a cluster's volumes.
    pub fn exchanges(&self, cluster: &ClusterName) -> Vec<Exchange> {
        let restores = self.clusters.get(cluster);
        restores.map_or(Vec::new(), |restores| restores.exchanges.clone())
    }
}
