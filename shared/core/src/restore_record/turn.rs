//! A turn of a record: the restore itself, an undo or a redo, and how far it is.
//!
//! Invariant: a turn only gains stages, each entered after the one before; the last one counts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::ids::InstanceId;

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
