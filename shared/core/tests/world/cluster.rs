//! A cluster of three members with a history: volumes that are made, lost, exchanged and put back, and
//! DLM's snapshots of them.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::Tags;
use etcd_backup_core::fleet::{Cluster, Fleet};
use etcd_backup_core::generation::{Exchange, Incoming, MemberExchange};
use etcd_backup_core::ids::{MemberKey, RestoreId, SnapshotId, VolumeId};
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::restore_point::History;
use etcd_backup_core::restore_tags::{Retirement, tags_to_retire};
use etcd_backup_core::schedule::Schedule;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;
use jiff::{SignedDuration, Timestamp};

use super::{CLUSTER, OUR_POLICY, discovery_tags, policy, settings, snapshot, volume};

pub const MEMBERS: [&str; 3] = ["main/a", "main/b", "main/c"];
const NAMES: &str = "a,b,c";

/// What EC2 has after everything that happened so far, and the exchanges that the records of restores would
/// have.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    pub volumes: Vec<Volume>,
    pub snapshots: Vec<Snapshot>,
    pub recorded: Vec<Exchange>,
    /// Each member's volume that masters find.
    pub live: BTreeMap<MemberKey, VolumeId>,
    made: usize,
    restores: usize,
}

/// The restore that a scenario's exchange was part of, and what it exchanged.
#[derive(Clone, Debug)]
pub struct Restored {
    pub id: RestoreId,
    pub pairs: BTreeMap<MemberKey, (Option<VolumeId>, VolumeId)>,
}

pub fn keys() -> impl Iterator<Item = MemberKey> {
    MEMBERS.into_iter().map(|key| key.parse().unwrap())
}

impl Scenario {
    /// Blank volumes of all members.
    pub fn new(at: Timestamp) -> Self {
        let mut scenario = Self::default();
        scenario.make_blank(&MEMBERS, at);
        scenario
    }

    /// As `kops update cluster` makes them.
    pub fn make_blank(&mut self, members: &[&str], at: Timestamp) {
        for key in members {
            let id = self.new_volume(discovery_tags(key, NAMES), at, None);
            self.live.insert(key.parse().unwrap(), id);
        }
    }

    fn new_volume(&mut self, tags: Tags, at: Timestamp, from: Option<SnapshotId>) -> VolumeId {
        self.made += 1;
        let id = format!("vol-{}", self.made);
        self.volumes.push(Volume {
            created: at,
            made_from: from,
            ..volume(&id, tags, "2026-01-01T00:00:00Z")
        });
        id.as_str().into()
    }

    pub fn volume(&mut self, id: &VolumeId) -> Option<&mut Volume> {
        self.volumes.iter_mut().find(|volume| volume.id == *id)
    }

    /// The live volumes of members are deleted.
    pub fn lose(&mut self, members: &[&str]) {
        for key in members {
            let id = self.live.remove(&key.parse().unwrap()).unwrap();
            self.volumes.retain(|volume| volume.id != id);
        }
    }

    /// DLM takes a snapshot of a member's live volume.
    pub fn take(&mut self, member: &str, at: Timestamp) -> SnapshotId {
        let live = self.live[&member.parse().unwrap()].clone();
        let tags = self.volume(&live).unwrap().tags.clone();
        let id = format!("snap-{}", self.snapshots.len() + 1);
        self.snapshots.push(snapshot(&id, live.as_str(), &tags, at));
        id.as_str().into()
    }

    /// A run of all members, a minute apart.
    pub fn run(&mut self, at: Timestamp) {
        for (minute, member) in (1..).zip(MEMBERS) {
            self.take(member, at + SignedDuration::from_mins(minute));
        }
    }

    /// So many daily runs, the first at `first`.
    pub fn daily_runs(&mut self, first: Timestamp, count: i64) {
        for day in 0..count {
            self.run(first + SignedDuration::from_hours(24 * day));
        }
    }

    /// New volumes from the given snapshots take the place of what members have.
    pub fn restore(&mut self, from: &BTreeMap<MemberKey, SnapshotId>, at: Timestamp) -> Restored {
        self.restores += 1;
        let id = RestoreId::of_digits(&format!("{:012}", self.restores));
        let mut restored = Restored {
            id: id.clone(),
            pairs: BTreeMap::new(),
        };
        for (key, source) in from {
            let mut tags = discovery_tags(&key.to_string(), NAMES);
            tags.insert("etcd-backup/restore-id".to_owned(), id.to_string());
            let created = at - SignedDuration::from_mins(1);
            let new = self.new_volume(tags, created, Some(source.clone()));
            let old = self.live.insert(key.clone(), new.clone());
            restored.pairs.insert(key.clone(), (old, new));
        }
        let pairs = restored.pairs.iter();
        let pairs = pairs.map(|(key, (old, new))| (key, old.as_ref(), Some(new)));
        self.exchange(&id, &pairs.clone().collect::<Vec<_>>(), at);
        self.record(&id, pairs, from, false, at);
        restored
    }

    /// What the restore replaced comes back.
    pub fn undo(&mut self, restored: &Restored, at: Timestamp) {
        let id = restored.id.undo();
        let pairs = restored.pairs.iter();
        let pairs = pairs.map(|(key, (old, new))| (key, Some(new), old.as_ref()));
        for (key, _, old) in pairs.clone() {
            match old {
                Some(old) => self.live.insert(key.clone(), old.clone()),
                None => self.live.remove(key),
            };
        }
        self.exchange(&id, &pairs.clone().collect::<Vec<_>>(), at);
        self.record(&id, pairs, &BTreeMap::new(), true, at);
    }

    fn exchange(
        &mut self,
        id: &RestoreId,
        pairs: &[(&MemberKey, Option<&VolumeId>, Option<&VolumeId>)],
        at: Timestamp,
    ) {
        let settings = settings(&[]);
        for (key, outgoing, incoming) in pairs {
            if let Some(volume) = outgoing.and_then(|id| self.volume(id)) {
                let was = tags_to_retire(&volume.tags, &settings);
                volume.tags.retain(|key, _| !was.contains_key(key));
                let journal = Retirement {
                    restore_id: id.clone(),
                    at,
                    replaced_by: incoming.cloned(),
                    was,
                };
                volume.tags.extend(journal.tags());
            }
            if let Some(volume) = incoming.and_then(|id| self.volume(id)) {
                let journal = Retirement::keys(&volume.tags);
                volume.tags.retain(|key, _| !journal.contains(key));
                volume.tags.extend(discovery_tags(&key.to_string(), NAMES));
            }
        }
    }

    fn record<'a>(
        &mut self,
        id: &RestoreId,
        pairs: impl Iterator<Item = (&'a MemberKey, Option<&'a VolumeId>, Option<&'a VolumeId>)>,
        from: &BTreeMap<MemberKey, SnapshotId>,
        returns: bool,
        at: Timestamp,
    ) {
        let members = pairs.map(|(key, outgoing, incoming)| {
            let incoming = incoming.map(|volume| Incoming {
                volume: volume.clone(),
                made_from: from.get(key).cloned(),
                returns,
            });
            let of_member = MemberExchange {
                outgoing: outgoing.cloned().into_iter().collect(),
                incoming: incoming.into_iter().collect(),
            };
            (key.clone(), of_member)
        });
        self.recorded.push(Exchange {
            id: id.clone(),
            at,
            members: members.collect(),
        });
    }

    /// `kops update cluster` takes tags that it doesn't know off live volumes.
    pub fn kops_updates(&mut self) {
        let live: BTreeSet<VolumeId> = self.live.values().cloned().collect();
        let volumes = self.volumes.iter_mut();
        for volume in volumes.filter(|volume| live.contains(&volume.id)) {
            let ours = |key: &str| key.starts_with("etcd-backup/");
            volume.tags.retain(|key, _| !ours(key));
        }
    }

    /// An operator deletes what restores and undos retired.
    pub fn clean_up(&mut self) {
        let live: BTreeSet<VolumeId> = self.live.values().cloned().collect();
        self.volumes.retain(|volume| live.contains(&volume.id));
    }

    /// The newest snapshot of each member that was started at or before a moment.
    pub fn newest(&self, at: Timestamp) -> BTreeMap<MemberKey, SnapshotId> {
        let newest = |key: &MemberKey| {
            let tag = format!("k8s.io/etcd/{}", key.etcd_cluster);
            let value = format!("{}/{NAMES}", key.member);
            let snapshots = self.snapshots.iter();
            let own = snapshots.filter(|of| of.started <= at && of.tags.get(&tag) == Some(&value));
            own.max_by_key(|of| of.started).map(|of| of.id.clone())
        };
        keys()
            .filter_map(|key| Some((key.clone(), newest(&key)?)))
            .collect()
    }

    /// The cluster as a function sees it.
    pub fn cluster(&self) -> Cluster {
        let ours = policy(OUR_POLICY, &[super::OUR_SCHEDULE]);
        let makers = Makers::new([], &[ours], &settings(&[]));
        let fleet = Fleet::new(self.volumes.clone(), self.snapshots.clone(), &makers);
        fleet
            .clusters
            .get(&CLUSTER.into())
            .cloned()
            .unwrap_or_default()
    }

    pub fn schedule() -> Schedule {
        settings(&[]).schedule
    }

    /// Asks the history, as it is told by tags alone, and as it is told by the record.
    pub fn both<T: PartialEq + std::fmt::Debug>(&self, ask: impl Fn(&History) -> T) -> T {
        let cluster = self.cluster();
        let by_tags = ask(&History::new(&cluster, Vec::new(), &Self::schedule()));
        let recorded = self.recorded.clone();
        let by_record = ask(&History::new(&cluster, recorded, &Self::schedule()));
        assert_eq!(by_tags, by_record, "tags and record tell the same");
        by_tags
    }
}
