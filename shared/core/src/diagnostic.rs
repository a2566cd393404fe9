//! The errors that leave a function.
//!
//! Lambda gives them to the caller as `errorType` and `errorMessage`. Types are stable names that
//! scripts match on; messages are one sentence that a person can act on.

use std::fmt;

use crate::aws::AwsError;

/// The most of a message about an event.
const EVENT_MESSAGE_CHARS_MAX: usize = 2000;

/// What went wrong, as a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The event has an unknown field or action, or options that contradict.
    InvalidEvent,
    /// An environment variable of the function has a value that isn't accepted.
    InvalidSetting,
    /// Nothing of that cluster exists in this account and Region.
    ClusterNotFound,
    /// No run left a completed snapshot of every member asked for.
    NoRestorePoint,
    /// The latest snapshots come from other volumes than the run before, and those were made blank.
    RestorePointDoubtful,
    /// verify found the chosen restore point damaged.
    RestorePointDamaged,
    /// The chosen snapshots were taken further apart than allowed.
    SkewTooLarge,
    /// Nothing tells which availability zone a vanished volume was in.
    ZoneUnknown,
    /// Masters would attach the restored volumes beside live, newer peers.
    MastersRunning,
    /// Termination protection is on for a master that is to be replaced.
    MasterProtected,
    /// A master that is to be replaced, or that holds an etcd volume, is in no autoscaling group: nothing
    /// would bring it back.
    MasterWithoutGroup,
    /// An etcd volume would be deleted with its instance.
    VolumeWouldBeLost,
    /// A member has two volumes, and only a person knows which of them was in use.
    MemberDuplicated,
    /// What a plan showed is no longer what would be done.
    PlanChanged,
    /// Another restore of the same cluster is unfinished, or the undo of one.
    RestoreInProgress,
    /// `status`, `undo` or `redo` is about a restore of which there is no record.
    RestoreNotFound,
    /// There is nothing to go back to, or something newer in the way.
    UndoImpossible,
    /// A new volume ended in `error`, or vanished.
    VolumeFailed,
    /// Masters would find a volume beside the right one, or wouldn't find the right one, as tags are.
    VolumeTagWrong,
    /// A volume would have more tags than EC2 allows.
    TagLimit,
    /// After the exchange, masters would not find exactly one volume per member and zone.
    CandidatesWrong,
    /// CloudFormation could not be told what became of its request.
    ResponseUndelivered,
    /// AWS refused a call, or couldn't be reached.
    AwsError,
    /// The answer could not be made, or a similar fault of this program.
    Internal,
}

impl ErrorType {
    /// The name given as `errorType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidEvent => "InvalidEvent",
            Self::InvalidSetting => "InvalidSetting",
            Self::ClusterNotFound => "ClusterNotFound",
            Self::NoRestorePoint => "NoRestorePoint",
            Self::RestorePointDoubtful => "RestorePointDoubtful",
            Self::RestorePointDamaged => "RestorePointDamaged",
            Self::SkewTooLarge => "SkewTooLarge",
            Self::ZoneUnknown => "ZoneUnknown",
            Self::MastersRunning => "MastersRunning",
            Self::MasterProtected => "MasterProtected",
            Self::MasterWithoutGroup => "MasterWithoutGroup",
            Self::VolumeWouldBeLost => "VolumeWouldBeLost",
            Self::MemberDuplicated => "MemberDuplicated",
            Self::PlanChanged => "PlanChanged",
            Self::RestoreInProgress => "RestoreInProgress",
            Self::RestoreNotFound => "RestoreNotFound",
            Self::UndoImpossible => "UndoImpossible",
            Self::VolumeFailed => "VolumeFailed",
            Self::VolumeTagWrong => "VolumeTagWrong",
            Self::TagLimit => "TagLimit",
            Self::CandidatesWrong => "CandidatesWrong",
            Self::ResponseUndelivered => "ResponseUndelivered",
            Self::AwsError => "AwsError",
            Self::Internal => "Internal",
        }
    }
}

/// An error as it leaves a function.
#[derive(Debug)]
pub struct Diagnostic {
    /// The stable name.
    pub error_type: ErrorType,
    /// One sentence a person can act on.
    pub message: String,
    // It is boxed, as most errors have none and every result pays for the size.
    source: Option<Box<AwsError>>,
}

impl Diagnostic {
    /// An error of the function's own.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self {
            error_type,
            message: message.into(),
            source: None,
        }
    }

    /// An event that can't be taken as it is. What it holds may be in the message, and whatever it holds:
    /// the message is on one line, and no longer than a person reads.
    pub fn invalid_event(message: impl Into<String>) -> Self {
        let message: String = message.into();
        let mut chars = message.chars();
        let first = chars.by_ref().take(EVENT_MESSAGE_CHARS_MAX);
        let mut readable: String = first
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        if chars.next().is_some() {
            readable.push('…');
        }
        Self::new(ErrorType::InvalidEvent, readable)
    }

    /// The same, saying one thing more.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// The AWS error behind it, where there is one.
    pub fn aws_error(&self) -> Option<&AwsError> {
        self.source.as_deref()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type.name(), self.message)
    }
}

impl std::error::Error for Diagnostic {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.aws_error().map(|error| error as _)
    }
}

impl From<AwsError> for Diagnostic {
    fn from(error: AwsError) -> Self {
        Self {
            error_type: ErrorType::AwsError,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }
    }
}
