//! The record of a restore: what it means to do, written before anything is done.
//!
//! It is the body of one item of [`crate::restore_table`], as JSON in the layout [`LAYOUT`]. What was done
//! is read from AWS itself; the record holds what AWS can't tell: which volumes are exchanged for which,
//! with all tags that the outgoing ones had, which way the exchange goes at the moment, and which groups'
//! launches are suspended for it.
//!
//! Invariants:
//!
//! - A record is written before what it names is done: a volume that masters use, a group or an
//!   instance is touched only if the record names it already.
//! - What an undo needs to put a volume back as it was is in the record, and nowhere else.
//! - A record begins with the turn of the restore itself; its last turn is under way until it has ended.
//! - A layout that this program doesn't know is an error, never a guess.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::Tags;
use crate::generation::{Exchange, Incoming, MemberExchange};
use crate::ids::{
    ClusterName, EtcdClusterName, GroupName, InstanceId, MemberKey, RestoreId, SnapshotId,
    VolumeId, ZoneName,
};
use crate::restore_table::StoredRecord;
use crate::schedule::Run;
use crate::verdict::Verdict;
use crate::volume::Performance;

/// The layout of bodies that this program writes, and the only one that it reads.
pub const LAYOUT: u32 = 1;

/// One restore, with all that became of it since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// The restore's id.
    pub id: RestoreId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The options of the event that began it, defaults filled in but for those that depend on what is there:
    /// events are the same if these are.
    pub event: Value,
    /// Whether that event said `again`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub again: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// The run whose snapshots were chosen; `None` where a person named them.
    pub run: Option<Run>,
    /// Member by member.
    pub members: BTreeMap<MemberKey, MemberRecord>,
    /// In which order its masters start.
    #[serde(default)]
    pub start_order: StartOrder,
    /// The groups whose launches it may have suspended and not resumed: named here before the call, and
    /// taken out after the launches were resumed.
    #[serde(default, rename = "held_groups")]
    pub suspended_groups: Vec<GroupName>,
    /// The turn of the restore itself.
    pub restore: Turn,
    /// Each undo and redo since; the last one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_turns: Vec<Turn>,
    /// What the operator was to know when it began, and has been since.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// When it was given up for another restore, as it could go neither on nor back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned_at: Option<Timestamp>,
}

/// One member of a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// What it is restored from.
    pub snapshot: SnapshotRecord,
    /// The volume that is made of that.
    pub incoming: IncomingVolume,
    /// The volumes that it takes the place of: one, or none where that was lost.
    pub outgoing: Vec<OutgoingVolume>,
}

/// A snapshot as it was when it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// `snap-…`
    pub id: SnapshotId,
    /// Its point in time.
    pub started_at: Timestamp,
    /// The volume that it was taken of.
    pub volume_id: VolumeId,
    /// What verify found in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verdict>,
    /// The revision that verify read in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Whether verify says that its member must start before the others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub starts_first: bool,
}

/// The volume that a restore makes for a member: all parameters of the call, so that a repeated one gives
/// the same volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncomingVolume {
    /// Where.
    pub zone: ZoneName,
    /// In GiB.
    pub size_gib: i32,
    /// Type and provisioned performance.
    #[serde(flatten)]
    pub performance: Performance,
    /// Whether it will be encrypted, by itself or because this says so.
    pub encrypted: bool,
    /// The key to ask for; `None` leaves it to EC2, which takes the snapshot's, else the account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// In MiB/s; `None` where EC2 reads blocks when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization_rate_mib_s: Option<i32>,
    /// All tags that it ends with, but those by which the project knows it.
    pub tags: Tags,
    /// What the client tokens of its making begin with; the number of failed ones follows.
    pub client_token_base: String,
    /// How many calls before this one made a volume that failed or vanished, or were refused for their
    /// initialization rate: each takes a token of its own.
    #[serde(default)]
    pub attempt: u32,
    /// The volume, once it is known to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// Volumes that were made for this and failed, or vanished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<VolumeId>,
}

/// A volume as it was when a restore began that takes it out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingVolume {
    /// `vol-…`
    pub id: VolumeId,
    /// Where it is.
    pub zone: ZoneName,
    /// In GiB.
    pub size_gib: i32,
    /// `gp3`, …
    pub volume_type: String,
    /// The snapshot it was made from; `None` for a volume made blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<SnapshotId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// All its tags, but those that only AWS writes.
    pub tags: Tags,
}

/// In which order a restore's masters start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOrder {
    /// The members that start first, a quorum with the newest among them; empty where the order doesn't
    /// matter, or can't be kept.
    pub first: Vec<MemberKey>,
    /// The groups whose masters they are.
    pub first_groups: Vec<GroupName>,
    /// The groups that are resumed when those have their volumes.
    pub second_groups: Vec<GroupName>,
}

/// What is done with the masters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MastersOption {
    /// They are left to the operator.
    #[default]
    Leave,
    /// All are terminated before the exchange; their autoscaling groups bring new ones after it.
    Replace,
}

/// What mounts etcd volumes on masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MountedBy {
    /// It looks for volumes when it starts.
    EtcdManager,
    /// It looks every minute, also on a running master.
    Protokube,
}

impl MountedBy {
    /// As events have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EtcdManager => "etcd-manager",
            Self::Protokube => "protokube",
        }
    }
}

/// Which way a record's volumes are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The incoming volumes are made, and come for the outgoing ones.
    Restore,
    /// The outgoing volumes come back for the incoming ones.
    Undo,
    /// The incoming volumes come for the outgoing ones once more.
    Redo,
}

impl Direction {
    /// As an event names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Undo => "undo",
            Self::Redo => "redo",
        }
    }
}

/// How far a turn is.
///
/// ```text
///   planned ─▶ creating ─▶ waiting_for_masters ─▶ exchanging ─▶ starting ─▶ done | undone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoreStage {
    /// Nothing was written.
    Planned,
    /// The incoming volumes are being made; the outgoing ones are untouched.
    Creating,
    /// Masters are being terminated; the outgoing volumes are untouched.
    WaitingForMasters,
    /// The outgoing volumes lose the tags by which masters find them, the incoming ones get theirs.
    Exchanging,
    /// Masters find the right volumes, and the first of them start.
    Starting,
    /// Masters find the incoming volumes, and them alone.
    Done,
    /// Masters find the outgoing volumes again, and them alone.
    Undone,
}

impl RestoreStage {
    /// As answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Creating => "creating",
            Self::WaitingForMasters => "waiting_for_masters",
            Self::Exchanging => "exchanging",
            Self::Starting => "starting",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }

    /// Whether the same event must be sent again.
    pub fn is_unfinished(self) -> bool {
        !matches!(self, Self::Planned | Self::Done | Self::Undone)
    }
}

/// One exchange of a record's volumes: the restore, an undo or a redo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Which way it goes.
    pub direction: Direction,
    /// What it does with the masters.
    pub masters: MastersOption,
    /// What mounts the volumes, where its event, or that of an earlier turn, said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted_by: Option<MountedBy>,
    /// Whether it gives up a restore, or a redo, that had not ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gives_up: bool,
    /// The ids of the plans with which it was begun or continued: the same event has them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan_ids: Vec<String>,
    /// The instances that it has terminated: named here before the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminated: Vec<InstanceId>,
    /// The stages that it was in so far, each with the time when it came into it; the last one counts. It
    /// can be in one more than once, as after a failure that let masters come back.
    pub stages: Vec<StageEntry>,
    /// When it ended; `None` while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A stage, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEntry {
    /// The stage.
    pub stage: RestoreStage,
    /// Since when.
    pub at: Timestamp,
}

/// A record that can't be read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A newer version of this program wrote it.
    #[error(
        "the record {number} is in layout {found}, and this program knows {LAYOUT}: deploy the newer version again"
    )]
    Layout {
        /// Which of the cluster's.
        number: u32,
        /// Its layout.
        found: u32,
    },
    /// Somebody changed it by hand.
    #[error("the record {number} can't be read: {source}")]
    Body {
        /// Which of the cluster's.
        number: u32,
        /// What is wrong.
        source: serde_json::Error,
    },
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl RestoreRecord {
    /// Reads a record as the table gives it.
    ///
    /// # Errors
    ///
    /// Where it is of another layout, or isn't what was written.
    pub fn read(stored: &StoredRecord) -> Result<Self, RecordError> {
        let number = stored.number.0;
        if stored.layout != LAYOUT {
            let found = stored.layout;
            return Err(RecordError::Layout { number, found });
        }
        let body_error = |source| RecordError::Body { number, source };
        serde_json::from_str(&stored.body).map_err(body_error)
    }

    /// The body to be stored.
    ///
    /// # Errors
    ///
    /// None in practice: every key of it is a string.
    pub fn body(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The turn that counts.
    pub fn turn(&self) -> &Turn {
        self.later_turns.last().unwrap_or(&self.restore)
    }

    /// The same, to be changed.
    pub fn turn_mut(&mut self) -> &mut Turn {
        self.later_turns.last_mut().unwrap_or(&mut self.restore)
    }

    /// All turns, the restore itself first.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = &Turn> {
        std::iter::once(&self.restore).chain(&self.later_turns)
    }

    /// Whether it neither ended nor was given up.
    pub fn is_unfinished(&self) -> bool {
        self.abandoned_at.is_none() && self.turn().ended_at.is_none()
    }

    /// Whether its volumes are, or are about to be, out of service again.
    pub fn is_put_back(&self) -> bool {
        self.turn().direction == Direction::Undo
    }

    /// Whether an undo of it has ended and nothing came since.
    pub fn is_undone(&self) -> bool {
        self.is_put_back() && !self.is_unfinished()
    }

    /// Whether its incoming volumes were in service at any time.
    pub fn was_ever_done(&self) -> bool {
        let mut turns = self.turns();
        turns.any(|turn| turn.direction != Direction::Undo && turn.ended_at.is_some())
    }

    /// How far its last turn is.
    pub fn stage(&self) -> RestoreStage {
        self.turn().stage()
    }

    /// When the restore itself ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.restore.ended_at
    }

    /// When a turn that goes this way ended last.
    pub fn turned_at(&self, direction: Direction) -> Option<Timestamp> {
        let mut ended = self
            .turns()
            .rev()
            .filter(|turn| turn.direction == direction);
        ended.find_map(|turn| turn.ended_at)
    }

    /// The etcd clusters that it is of.
    pub fn etcd_clusters(&self) -> impl Iterator<Item = &EtcdClusterName> {
        let mut last = None;
        let names = self.members.keys().map(|key| &key.etcd_cluster);
        // Sorted by etcd cluster, so equal names are neighbours.
        names.filter(move |name| last.replace(*name) != Some(*name))
    }

    /// The exchanges of volumes that its turns made, in their order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let mut exchanges: Vec<Exchange> = Vec::new();
        for turn in self.turns() {
            // An undo of what was never exchanged exchanges nothing.
            let is_first_undo = turn.direction == Direction::Undo && exchanges.is_empty();
            let Some(at) = turn.exchanged_at().filter(|_| !is_first_undo) else {
                continue;
            };
            let members = self.members.iter();
            let members = members.map(|(key, member)| (key.clone(), member.exchange(turn)));
            exchanges.push(Exchange {
                id: self.id.clone(),
                at,
                members: members.collect(),
            });
        }
        exchanges
    }

    /// Every volume that it brings, or takes out of service.
    pub fn volume_ids(&self) -> impl Iterator<Item = &VolumeId> {
        self.members.values().flat_map(|member| {
            let outgoing = member.outgoing.iter().map(|volume| &volume.id);
            member.incoming.volume_id.iter().chain(outgoing)
        })
    }
}

impl MemberRecord {
    fn exchange(&self, turn: &Turn) -> MemberExchange {
        let made = self.incoming.volume_id.iter();
        let was_there = self.outgoing.iter();
        let returns = turn.direction != Direction::Restore;
        if turn.direction == Direction::Undo {
            MemberExchange {
                outgoing: made.cloned().collect(),
                incoming: was_there
                    .map(|volume| Incoming {
                        volume: volume.id.clone(),
                        made_from: volume.made_from.clone(),
                        returns,
                    })
                    .collect(),
            }
        } else {
            MemberExchange {
                outgoing: was_there.map(|volume| volume.id.clone()).collect(),
                incoming: made
                    .map(|volume| Incoming {
                        volume: volume.clone(),
                        made_from: Some(self.snapshot.id.clone()),
                        returns,
                    })
                    .collect(),
            }
        }
    }
}

impl Turn {
    /// A turn that begins.
    pub fn begin(
        direction: Direction,
        masters: MastersOption,
        stage: RestoreStage,
        at: Timestamp,
    ) -> Self {
        Self {
            direction,
            masters,
            mounted_by: None,
            gives_up: false,
            plan_ids: Vec::new(),
            terminated: Vec::new(),
            stages: vec![StageEntry { stage, at }],
            ended_at: None,
        }
    }

    /// How far it is.
    pub fn stage(&self) -> RestoreStage {
        self.stages
            .last()
            .map_or(RestoreStage::Planned, |entry| entry.stage)
    }

    /// Since when it is so far.
    pub fn since(&self) -> Option<Timestamp> {
        self.stages.last().map(|entry| entry.at)
    }

    /// When it began.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.stages.first().map(|entry| entry.at)
    }

    /// When volumes were first exchanged in it; `None` where none was yet.
    pub fn exchanged_at(&self) -> Option<Timestamp> {
        let mut stages = self.stages.iter();
        let entry = stages.find(|entry| entry.stage == RestoreStage::Exchanging);
        entry.map(|entry| entry.at)
    }

    /// Names instances that are about to be terminated. Whether it didn't name one of them before.
    pub fn name_terminated(&mut self, instances: &[InstanceId]) -> bool {
        let named_before = self.terminated.len();
        for instance in instances {
            if !self.terminated.contains(instance) {
                self.terminated.push(instance.clone());
            }
        }
        self.terminated.len() > named_before
    }

    /// Moves it to a stage; nothing where it is there already.
    pub fn enter(&mut self, stage: RestoreStage, at: Timestamp) {
        if self.stage() != stage {
            self.stages.push(StageEntry { stage, at });
        }
    }

    /// Ends it.
    pub fn end(&mut self, at: Timestamp) {
        let stage = match self.direction {
            Direction::Undo => RestoreStage::Undone,
            Direction::Restore | Direction::Redo => RestoreStage::Done,
        };
        self.enter(stage, at);
        self.ended_at = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::restore_table::{RecordNumber, Token};

    fn record() -> RestoreRecord {
        let body = r#"{
            "id": "r-1f2e3d4c5b6a",
            "cluster": "k8s.mycompany.tld",
            "event": {"masters": "replace", "partial": false},
            "started_at": "2026-11-22T09:00:00Z",
            "run": "2026-11-22T06:00:00Z",
            "members": {
                "main/a": {
                    "snapshot": {"id": "snap-0a", "started_at": "2026-11-22T06:03:59Z", "volume_id": "vol-0o", "revision": 5544},
                    "incoming": {
                        "zone": "eu-west-2a", "size_gib": 20,
                        "volume_type": "gp3", "iops": 3000, "throughput": 125,
                        "encrypted": true, "kms_key_id": "alias/etcd", "initialization_rate_mib_s": 300,
                        "tags": {"k8s.io/etcd/main": "a/a", "owner": "platform"},
                        "client_token_base": "r-1f2e3d4c5b6a-0123456789ab", "attempt": 1,
                        "volume_id": "vol-0n", "failed": ["vol-0f"]
                    },
                    "outgoing": [{
                        "id": "vol-0o", "zone": "eu-west-2a", "size_gib": 20, "volume_type": "gp2",
                        "created_at": "2025-01-01T00:00:00Z",
                        "tags": {"Name": "a.etcd-main.k8s.mycompany.tld", "k8s.io/etcd/main": "a/a"}
                    }]
                }
            },
            "start_order": {"first": ["main/a"], "first_groups": ["master-a"], "second_groups": []},
            "held_groups": ["master-a"],
            "restore": {"direction": "restore", "masters": "replace", "terminated": ["i-0a"], "stages": [
                {"stage": "creating", "at": "2026-11-22T09:00:00Z"},
                {"stage": "exchanging", "at": "2026-11-22T09:03:00Z"},
                {"stage": "done", "at": "2026-11-22T09:04:00Z"}
            ], "ended_at": "2026-11-22T09:04:00Z"},
            "later_turns": [
                {"direction": "undo", "masters": "leave", "gives_up": true, "stages": [
                    {"stage": "exchanging", "at": "2026-11-22T10:00:00Z"}
                ]}
            ],
            "warnings": ["no volume is encrypted"]
        }"#;
        serde_json::from_str(body).unwrap()
    }

    fn stored(layout: u32, body: &str) -> StoredRecord {
        StoredRecord {
            number: RecordNumber::FIRST,
            token: Token::from("8476a536.1/1".to_owned()),
            layout,
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_record_survives_the_round_trip() {
        let mut abandoned = record();
        abandoned.abandoned_at = Some("2026-11-23T00:00:00Z".parse().unwrap());
        abandoned.again = true;
        for record in [record(), abandoned] {
            let body = record.body().unwrap();
            assert_eq!(RestoreRecord::read(&stored(LAYOUT, &body)).unwrap(), record);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_why() {
        let error = |layout, body: &str| {
            RestoreRecord::read(&stored(layout, body))
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(error(LAYOUT + 1, "{}"), @"the record 1 is in layout 2, and this program knows 1: deploy the newer version again");
        insta::assert_snapshot!(error(LAYOUT, "{}"), @"the record 1 can't be read: missing field `id` at line 1 column 2");
    }

    #[test]
    fn the_last_turn_counts() {
        let mut record = record();
        assert!(record.is_unfinished() && record.is_put_back() && !record.is_undone());
        assert!(record.was_ever_done());
        let end: Timestamp = "2026-11-22T10:01:00Z".parse().unwrap();
        record.turn_mut().end(end);
        assert!(record.is_undone());
        assert_eq!(record.stage(), RestoreStage::Undone);
        assert_eq!(record.turned_at(Direction::Undo), Some(end));
        assert_eq!(record.turned_at(Direction::Redo), None);
        let ids: Vec<_> = record.volume_ids().map(VolumeId::as_str).collect();
        assert_eq!(ids, ["vol-0n", "vol-0o"]);
    }

    #[test]
    fn an_instance_is_named_once_whenever_it_is_terminated() {
        let mut turn = record().restore;
        let [first, second] = ["i-0a", "i-0b"].map(InstanceId::from);
        assert!(!turn.name_terminated(std::slice::from_ref(&first)));
        assert!(turn.name_terminated(&[first.clone(), second.clone()]));
        assert!(!turn.name_terminated(&[second.clone(), first.clone()]));
        assert_eq!(turn.terminated, [first, second]);
    }

    #[test]
    fn each_turn_that_came_to_it_is_an_exchange() {
        let mut record = record();
        let told = |record: &RestoreRecord| -> Vec<String> {
            let exchanges = record.exchanges().into_iter();
            exchanges
                .map(|exchange| {
                    let member = &exchange.members[&"main/a".parse().unwrap()];
                    let incoming = &member.incoming[0];
                    format!(
                        "{} {:?} -> {} from {:?} {}",
                        exchange.at,
                        member.outgoing,
                        incoming.volume,
                        incoming.made_from,
                        incoming.returns
                    )
                })
                .collect()
        };
        insta::assert_debug_snapshot!(told(&record), @r#"
        [
            "2026-11-22T09:03:00Z [VolumeId(\"vol-0o\")] -> vol-0n from Some(SnapshotId(\"snap-0a\")) false",
            "2026-11-22T10:00:00Z [VolumeId(\"vol-0n\")] -> vol-0o from None true",
        ]
        "#);
        record
            .restore
            .stages
            .retain(|entry| entry.stage == RestoreStage::Creating);
        assert_eq!(
            told(&record),
            Vec::<String>::new(),
            "given up before anything was exchanged"
        );
    }

    proptest! {
        #[test]
        fn tags_of_any_text_survive_the_round_trip(
            tags in proptest::collection::btree_map(".{1,128}", ".{0,256}", 0..50)
        ) {
            let mut record = record();
            let key: MemberKey = "main/a".parse().unwrap();
            record.members.get_mut(&key).unwrap().outgoing[0].tags = tags.into();
            let body = record.body().unwrap();
            prop_assert_eq!(RestoreRecord::read(&stored(LAYOUT, &body)).unwrap(), record);
        }

        #[test]
        fn a_turn_is_in_the_stage_that_it_entered_last(count in 1_usize..8, again in 0_usize..8) {
            use RestoreStage::{Creating, Exchanging, Starting, WaitingForMasters};
            let at: Timestamp = "2026-11-22T09:00:00Z".parse().unwrap();
            let mut turn = Turn::begin(Direction::Restore, MastersOption::Replace, Creating, at);
            let stages = [WaitingForMasters, Exchanging, Starting];
            for index in 0..count {
                let stage = stages[(index * again) % stages.len()];
                turn.enter(stage, at);
                prop_assert_eq!(turn.stage(), stage);
            }
            let distinct = turn.stages.windows(2).all(|pair| pair[0].stage != pair[1].stage);
            prop_assert!(distinct);
        }
    }
}
