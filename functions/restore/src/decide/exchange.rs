//! The exchange: some volumes leave the masters' sight, others come into it. It is the one thing that
//! a restore, an undo and a redo all do, and the only one in which a volume that masters use is touched.
//!
//! Its order is what keeps two volumes from ever answering for one member: untag, see what leaves gone
//! twice, tag. Which volumes they are says the record; how far it is say the volumes.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::Tags;
use etcd_backup_core::discovery::{CLUSTER, etcd_keys, is_discovery_tag};
use etcd_backup_core::ids::{MemberKey, VolumeId, ZoneName};
use etcd_backup_core::restore_record::{Direction, RestoreRecord, RestoreStage, Turn};
use etcd_backup_core::restore_tags::{
    Retirement, TAGS_MAX, counts_as_tag, restored_by, tags_to_retire,
};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;

use super::masters_find::{MastersFind, is_found};

/// Volumes as they are, by id.
pub type Volumes = BTreeMap<VolumeId, Volume>;

/// The exchange that a record's last turn makes.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    record: &'a RestoreRecord,
    /// Member by member.
    pub members: Vec<MemberExchange<'a>>,
}

/// What becomes of one member's volumes.
#[derive(Clone, Debug)]
pub struct MemberExchange<'a> {
    /// The member.
    pub key: &'a MemberKey,
    /// Where it is.
    pub zone: &'a ZoneName,
    /// The volumes that masters must not find any more.
    pub leaving: Vec<&'a VolumeId>,
    /// The volume that they shall find instead, with the tags that make it so; none where it isn't made
    /// yet, or nothing is to come back.
    pub coming: Option<(&'a VolumeId, &'a Tags)>,
}

/// What takes a volume out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The volume.
    pub volume: VolumeId,
    /// What it is to remember, as far as there is room before its tags go.
    pub journal_before: Tags,
    /// What of that has room only after.
    pub journal_after: Tags,
    /// The tags that go.
    pub keys: BTreeSet<String>,
}

impl<'a> Exchange<'a> {
    /// Of a record's last turn.
    pub fn of(record: &'a RestoreRecord) -> Self {
        let is_undo = record.turn().direction == Direction::Undo;
        let members = record.members.iter().map(|(key, member)| {
            let incoming = member.incoming.volume_id.as_ref();
            let incoming = incoming.map(|id| (id, &member.incoming.tags));
            let outgoing = member.outgoing.iter();
            let mut outgoing = outgoing.map(|volume| (&volume.id, &volume.tags));
            let (leaving, coming) = if is_undo {
                (incoming.into_iter().collect(), outgoing.next())
            } else {
                (outgoing.collect::<Vec<_>>(), incoming)
            };
            MemberExchange {
                key,
                zone: &member.incoming.zone,
                leaving: leaving.into_iter().map(|(id, _)| id).collect(),
                coming,
            }
        });
        Self {
            record,
            members: members.collect(),
        }
    }

    /// The volumes that leave, as far as they exist, each with its member.
    pub fn leaving<'v>(
        &'v self,
        volumes: &'v Volumes,
    ) -> impl Iterator<Item = (&'v MemberExchange<'a>, &'v Volume)> {
        let pairs = self.members.iter().flat_map(move |member| {
            let ids = member.leaving.iter();
            ids.map(move |id| (member, *id))
        });
        pairs.filter_map(move |(member, id)| Some((member, volumes.get(id)?)))
    }

    /// The volumes that come, as far as they exist, each with the tags that it is to have.
    pub fn coming<'v>(
        &'v self,
        volumes: &'v Volumes,
    ) -> impl Iterator<Item = (&'v MemberExchange<'a>, &'v Volume, &'a Tags)> {
        let members = self.members.iter();
        members.filter_map(move |member| {
            let (id, tags) = member.coming?;
            Some((member, volumes.get(id)?, tags))
        })
    }

    /// What is still to be taken out of service.
    pub fn removals(&self, volumes: &Volumes, settings: &Settings, now: Timestamp) -> Vec<Removal> {
        let marks = |volume: &Volume| {
            // What an undo gives up is marked even where it was never tagged, so that a person recognises it;
            // but not where somebody has taken such tags off, who would do so again.
            self.record.turn().direction == Direction::Undo
                && restored_by(&volume.tags).is_some()
                && !Retirement::is_on(&volume.tags)
                && room(&volume.tags) > 0
        };
        let left = self
            .leaving(volumes)
            .filter(|(_, volume)| is_in_service(volume, settings) || marks(volume));
        left.map(|(member, volume)| self.removal(member, volume, settings, now))
            .collect()
    }

    fn removal(
        &self,
        member: &MemberExchange,
        volume: &Volume,
        settings: &Settings,
        now: Timestamp,
    ) -> Removal {
        let was = tags_to_retire(&volume.tags, settings);
        let journal = Retirement {
            restore_id: self.record.id.clone(),
            at: now,
            replaced_by: member.coming.map(|(id, _)| id.clone()),
            was: was.clone(),
        };
        let journal = journal.journal(&self.record.cluster, member.key);
        let is_there = |key: &String| volume.tags.contains_key(key);
        // A key that is there already, as after a repetition, is overwritten and needs no room.
        let (again, new): (Vec<_>, Vec<_>) =
            journal.into_iter().partition(|(key, _)| is_there(key));
        let keys: BTreeSet<String> = was.into_keys().collect();
        let room_before = room(&volume.tags);
        let mut new = new.into_iter().take(room_before + keys.len());
        // The mark comes first, as it is what permits the function to write the others: where there is no
        // room for it before the tags go, nothing is written before.
        let is_marked_before = room_before > 0 || Retirement::is_on(&volume.tags);
        let (before, mut after): (Tags, Tags) = if is_marked_before {
            let before = again.into_iter().chain(new.by_ref().take(room_before));
            (before.collect(), new.collect())
        } else {
            (Tags::new(), again.into_iter().chain(new).collect())
        };
        if !after.is_empty() {
            after.extend([Retirement::mark(&self.record.id)]);
        }
        Removal {
            volume: volume.id.clone(),
            journal_before: before,
            journal_after: after,
            keys,
        }
    }

    /// Journals on volumes that come back into service: they say nothing any more, and take room.
    pub fn journals_to_clear(&self, volumes: &Volumes) -> Vec<(VolumeId, Vec<String>)> {
        let coming = self.coming(volumes);
        let journals = coming
            .filter(|(_, volume, _)| Retirement::is_on(&volume.tags))
            .map(|(_, volume, _)| (volume.id.clone(), Retirement::keys(&volume.tags)));
        journals.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// The volumes to be tagged, once those that leave are seen gone. Whether one is tagged already tell
    /// its discovery tags alone: `kops update cluster` leaves those, whatever else it takes.
    pub fn tags_to_write(&self, volumes: &Volumes) -> Vec<(VolumeId, Tags)> {
        let untagged = self.coming(volumes).filter(|(_, volume, tags)| {
            let mut discovery = tags
                .iter()
                .filter(|(key, value)| is_discovery_tag(key, value));
            discovery.any(|(key, value)| volume.tags.get(key) != Some(value))
        });
        let missing = untagged.map(|(_, volume, tags)| {
            // The cluster's name is written too, as it is what permits the function to write the others.
            let missing = tags.iter().filter(|(key, value)| {
                let found = volume.tags.get(key);
                let is_wrong = is_discovery_tag(key, value) && found != Some(*value);
                found.is_none() || is_wrong || *key == CLUSTER
            });
            let missing = missing.map(|(key, value)| (key.clone(), value.clone()));
            let mut missing: Tags = missing.collect();
            // It is written also where a volume that comes back had none, as kops made it without or somebody
            // took it off.
            missing.insert(CLUSTER.to_owned(), self.record.cluster.to_string());
            (volume.id.clone(), missing)
        });
        missing.collect()
    }

    /// Whether what masters find is still to change, by a volume that is yet to be made among others. A
    /// `Name` or a target tag, which masters don't look at, changes nothing for them.
    pub fn changes_what_masters_find(&self, volumes: &Volumes) -> bool {
        let lacks_incoming = self.record.turn().direction != Direction::Undo
            && self.members.iter().any(|member| member.coming.is_none());
        let mut coming = self.coming(volumes);
        lacks_incoming
            || self
                .leaving(volumes)
                .any(|(member, volume)| self.is_found(member, volume))
            || coming.any(|(member, volume, _)| !self.is_found(member, volume))
    }

    fn is_found(&self, member: &MemberExchange, volume: &Volume) -> bool {
        is_found(&self.record.cluster, &member.key.etcd_cluster, &volume.tags)
    }

    /// Whether anything of it is done: from here on it is better ended than refused. What leaves and says no
    /// more whose it is tells that, whatever `Name` or target tag somebody gives it again.
    pub fn has_begun(&self, volumes: &Volumes) -> bool {
        let is_out = |(_, volume): (&MemberExchange, &Volume)| etcd_keys(&volume.tags).is_empty();
        let mut coming = self.coming(volumes);
        self.leaving(volumes).any(is_out)
            || coming.any(|(member, volume, _)| self.is_found(member, volume))
    }

    /// Whether masters that run could still have, or find, a volume that leaves. Once the first one that
    /// comes is found they can't: all masters were gone then, and none that leaves was left to be found.
    /// Nor can they once masters were let come: a read that lags must not kill these.
    pub fn needs_masters_gone(&self, volumes: &Volumes) -> bool {
        let in_use = |(member, volume): (&MemberExchange, &Volume)| {
            self.is_found(member, volume) || !volume.attachments.is_empty()
        };
        let mut coming = self.coming(volumes);
        let is_any_found = coming.any(|(member, volume, _)| self.is_found(member, volume));
        self.changes_what_masters_find(volumes)
            && (self.leaving(volumes).any(in_use)
                || !(is_any_found || were_masters_let_come(self.record.turn())))
    }
}

/// Whether launches were resumed since masters were last waited for.
fn were_masters_let_come(turn: &Turn) -> bool {
    let stages = turn.stages.iter().rev().map(|entry| entry.stage);
    let mut since_waited = stages.take_while(|stage| *stage != RestoreStage::WaitingForMasters);
    since_waited.any(|stage| stage == RestoreStage::Starting)
}

/// Whether masters, `kops update cluster` or DLM could take a volume for a member's.
pub fn is_in_service(volume: &Volume, settings: &Settings) -> bool {
    !tags_to_retire(&volume.tags, settings).is_empty()
}

/// How many tags a volume may still be given.
pub fn room(tags: &Tags) -> usize {
    let count = tags.keys().filter(|key| counts_as_tag(key)).count();
    TAGS_MAX.saturating_sub(count)
}

/// What masters are to find of a record's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The volumes that the restore made.
    Incoming,
    /// Those that were there when it began.
    Outgoing,
}

impl Side {
    /// What a turn leaves.
    pub fn left_by(direction: Direction) -> Self {
        match direction {
            Direction::Undo => Self::Outgoing,
            Direction::Restore | Direction::Redo => Self::Incoming,
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Incoming => Self::Outgoing,
            Self::Outgoing => Self::Incoming,
        }
    }

    /// All volumes of this side.
    pub fn volume_ids(self, record: &RestoreRecord) -> Vec<&VolumeId> {
        let members = record.members.values();
        match self {
            Self::Incoming => members
                .filter_map(|member| member.incoming.volume_id.as_ref())
                .collect(),
            Self::Outgoing => members
                .flat_map(|member| member.outgoing.iter().map(|volume| &volume.id))
                .collect(),
        }
    }

    /// The volumes of this side that masters are to find for a member: those that can be found by the tags
    /// that the record has of them.
    fn wanted(self, record: &RestoreRecord, key: &MemberKey) -> Vec<VolumeId> {
        let Some(member) = record.members.get(key) else {
            return Vec::new();
        };
        match self {
            Self::Incoming => member.incoming.volume_id.iter().cloned().collect(),
            Self::Outgoing => {
                let outgoing = member.outgoing.iter();
                let found = outgoing
                    .filter(|volume| is_found(&record.cluster, &key.etcd_cluster, &volume.tags));
                found.map(|volume| volume.id.clone()).collect()
            }
        }
    }
}

/// What masters find of a record's members.
pub fn masters_find(record: &RestoreRecord, volumes: &Volumes) -> MastersFind {
    let members = record.members.iter();
    let members = members.map(|(key, member)| (key, Some(&member.incoming.zone)));
    MastersFind::new(&record.cluster, members, volumes)
}

/// A member for which masters wouldn't find just what they shall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongMember {
    /// The member.
    pub key: MemberKey,
    /// What masters shall find.
    pub wanted: Vec<VolumeId>,
    /// What they find.
    pub found: Vec<VolumeId>,
}

/// The members of a record for which masters don't find this side, and it alone.
pub fn wrong_members(record: &RestoreRecord, side: Side, found: &MastersFind) -> Vec<WrongMember> {
    let wrong = record.members.keys().filter_map(|key| {
        let (wanted, found) = (side.wanted(record, key), found.of(key).to_vec());
        let lacks = side == Side::Incoming && wanted.is_empty();
        (lacks || wanted != found).then(|| WrongMember {
            key: key.clone(),
            wanted,
            found,
        })
    });
    wrong.collect()
}

/// What masters find beside the volumes that a record exchanges, so that nothing may be tagged beside it.
pub fn unknown_found(record: &RestoreRecord, found: &MastersFind) -> Vec<WrongMember> {
    let exchange = Exchange::of(record);
    let unknown = exchange.members.iter().filter_map(|member| {
        let coming = member.coming.map(|(id, _)| id);
        let found = found.of(member.key).iter();
        let unknown = found.filter(|id| Some(*id) != coming && !member.leaving.contains(id));
        let unknown: Vec<VolumeId> = unknown.cloned().collect();
        (!unknown.is_empty()).then(|| WrongMember {
            key: member.key.clone(),
            wanted: coming.into_iter().cloned().collect(),
            found: unknown,
        })
    });
    unknown.collect()
}

/// The side that masters find of all members alike; `None` where they find some of each, or others.
pub fn side_found(record: &RestoreRecord, found: &MastersFind) -> Option<Side> {
    let sides = [Side::Incoming, Side::Outgoing].into_iter();
    let mut whole = sides.filter(|side| wrong_members(record, *side, found).is_empty());
    whole.next()
}
