//! What may happen to a cluster, and how often.

use e2e::CrashPoint;

use crate::model::{Action, Model, State};
use crate::rng::Rng;
use crate::world::World;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Move {
    /// An event is sent.
    Send {
        /// What it asks for.
        action: Action,
        /// Which of the world's options.
        options: usize,
        /// Whether it says `again`.
        again: bool,
        /// Whether it is planned first, and carried out by the plan's id; with what comes in between.
        planned: Option<InBetween>,
        /// What comes in its way.
        disturbance: Disturbance,
    },
    /// It is the next morning, and another run is over.
    NextMorning,
    /// So many minutes pass.
    Wait(i64),
    /// A volume is lost: in service, or retired.
    Lose {
        /// Which kind.
        in_service: bool,
        /// Which of these.
        nth: usize,
    },
    /// Somebody changes tags.
    Meddle(Meddler),
    /// `status`, `history`, `list`: they write nothing.
    Look,
}

/// What happens between a plan and the event that carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InBetween {
    /// Nothing.
    Nothing,
    /// Another run.
    NextMorning,
    /// A volume in service is lost.
    Loss,
    /// Tags are taken off that nobody needs.
    TagsCleaned,
}

/// What comes in the way of an invocation.
#[derive(Clone, Debug)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// The process is killed.
    Kill(CrashPoint),
    /// All calls of an operation fail, from the nth on.
    Fail {
        /// `ec2`, …
        service: &'static str,
        /// `CreateTags`, …
        operation: &'static str,
        /// From 1.
        nth: u32,
    },
    /// The answer of the nth call of an operation is lost.
    LoseAnswer {
        /// `ec2`, …
        service: &'static str,
        /// `CreateTags`, …
        operation: &'static str,
        /// From 1.
        nth: u32,
    },
    /// Somebody takes tags off before the nth call.
    Meddle {
        /// Who.
        by: Meddler,
        /// From 1.
        nth: u32,
    },
}

/// Who changes tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddler {
    /// `kops update cluster`, which takes off what it doesn't know.
    Kops,
    /// A cleaner of tags.
    Cleaner,
    /// `terraform apply`, whose state has the volumes of the beginning.
    Terraform,
}

const OPERATIONS: [(&str, &str); 12] = [
    ("ec2", "DescribeVolumes"),
    ("ec2", "DescribeSnapshots"),
    ("ec2", "DescribeInstances"),
    ("ec2", "CreateVolume"),
    ("ec2", "CreateTags"),
    ("ec2", "DeleteTags"),
    ("ec2", "TerminateInstances"),
    ("autoscaling", "DescribeAutoScalingGroups"),
    ("autoscaling", "SuspendProcesses"),
    ("autoscaling", "ResumeProcesses"),
    ("dynamodb", "PutItem"),
    ("dynamodb", "Query"),
];
/// Calls of one invocation, about: a point beyond its end disturbs nothing.
const CALLS: usize = 45;

/// The next move: rather one that leads on from where the model is.
pub fn next(rng: &mut Rng, model: &Model, world: &World) -> Move {
    #[derive(Clone)]
    enum Kind {
        Send,
        NextMorning,
        Wait,
        Lose,
        Meddle,
        Look,
    }
    let kind = rng.weighted(&[
        (62, Kind::Send),
        (9, Kind::NextMorning),
        (6, Kind::Wait),
        (7, Kind::Lose),
        (10, Kind::Meddle),
        (6, Kind::Look),
    ]);
    match kind {
        Kind::Send => send(rng, model, world),
        Kind::NextMorning => Move::NextMorning,
        Kind::Wait => Move::Wait(*rng.pick(&[5, 20, 300])),
        Kind::Lose => Move::Lose {
            in_service: rng.percent(60),
            nth: rng.below(8),
        },
        Kind::Meddle => Move::Meddle(rng.weighted(&[
            (4, Meddler::Kops),
            (4, Meddler::Cleaner),
            (2, Meddler::Terraform),
        ])),
        Kind::Look => Move::Look,
    }
}

fn send(rng: &mut Rng, model: &Model, world: &World) -> Move {
    let newest = model.newest();
    let of_newest = newest.map_or(0, |newest| newest.options);
    let any = rng.below(world.options.len());
    let (action, options) = match newest.map(|newest| &newest.state) {
        None => rng.weighted(&[
            (16, (Action::Restore, any)),
            (1, (Action::Undo, 0)),
            (1, (Action::Redo, 0)),
        ]),
        Some(State::Unfinished(Some(Action::Restore) | None)) => rng.weighted(&[
            (10, (Action::Restore, of_newest)),
            (2, (Action::Restore, any)),
            (5, (Action::Undo, 0)),
            (1, (Action::Redo, 0)),
        ]),
        Some(State::Unfinished(Some(unfinished))) => rng.weighted(&[
            (10, (*unfinished, 0)),
            (2, (Action::Restore, any)),
            (4, (Action::Undo, 0)),
            (1, (Action::Redo, 0)),
        ]),
        Some(State::Done) => rng.weighted(&[
            (3, (Action::Restore, of_newest)),
            (5, (Action::Restore, any)),
            (8, (Action::Undo, 0)),
            (1, (Action::Redo, 0)),
        ]),
        Some(State::Undone) => rng.weighted(&[
            (3, (Action::Restore, of_newest)),
            (4, (Action::Restore, any)),
            (1, (Action::Undo, 0)),
            (7, (Action::Redo, 0)),
        ]),
    };
    let can_be_planned = model.unfinished().is_none() && model.tagged_again.is_empty();
    let planned = (can_be_planned && rng.percent(15)).then(|| {
        rng.weighted(&[
            (4, InBetween::Nothing),
            (2, InBetween::NextMorning),
            (2, InBetween::Loss),
            (2, InBetween::TagsCleaned),
        ])
    });
    let disturbance = if planned.is_some() {
        Disturbance::None
    } else {
        disturbance(rng)
    };
    Move::Send {
        action,
        options,
        again: action == Action::Restore && rng.percent(15),
        planned,
        disturbance,
    }
}

fn disturbance(rng: &mut Rng) -> Disturbance {
    let count = |rng: &mut Rng, end: usize| 1 + u32::try_from(rng.below(end)).expect("a small one");
    let (service, operation) = *rng.pick(&OPERATIONS);
    let of_all = count(rng, CALLS);
    let of_operation = count(rng, 5);
    let by = *rng.pick(&[Meddler::Kops, Meddler::Cleaner]);
    rng.weighted(&[
        (9, Disturbance::None),
        (3, Disturbance::Kill(CrashPoint::Before(of_all))),
        (3, Disturbance::Kill(CrashPoint::After(of_all))),
        (
            3,
            Disturbance::Fail {
                service,
                operation,
                nth: of_operation,
            },
        ),
        (
            2,
            Disturbance::LoseAnswer {
                service,
                operation,
                nth: of_operation,
            },
        ),
        (2, Disturbance::Meddle { by, nth: of_all }),
    ])
}
