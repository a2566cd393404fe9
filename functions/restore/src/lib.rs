//! Brings a cluster's etcd volumes back from their snapshots when given its name, and undoes it.
//!
//! Collect ([`collect`]) → decide ([`attempt`] which restore, [`choice`] which snapshots, [`plan`] what
//! becomes of each member, [`undo`] what goes back, [`exchange`] and [`masters`] in which order, [`step`]
//! what is next) → show ([`show`], [`answer`], [`list`], [`next_steps`]) → act ([`execute`], [`act`]). All
//! state lives in AWS: in the tags on the volumes and groups, and in the client tokens that volumes were
//! made with.

pub mod act;
pub mod answer;
pub mod attempt;
pub mod candidates;
pub mod choice;
pub mod collect;
pub mod event;
pub mod exchange;
pub mod execute;
pub mod identity;
pub mod limits;
pub mod list;
pub mod masters;
pub mod next_steps;
pub mod plan;
pub mod refusal;
pub mod show;
pub mod step;
pub mod tags;
pub mod undo;
pub mod zone;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::{MasterWriter, Masters, Storage, VolumeWriter};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::restore_point;
use etcd_backup_core::settings::Settings;
use serde::Serialize;
use serde_json::Value;

use crate::attempt::Attempt;
use crate::collect::{Situation, ZoneEvidence};
use crate::event::{Action, Request};
use crate::execute::{Execution, Progress};
use crate::list::ListAnswer;
use crate::plan::Surroundings;
use crate::show::Frame;
use crate::step::Phase;

/// Handles one invocation.
///
/// # Errors
///
/// A refusal that says what to do; nothing was changed then. `VolumeFailed`, `CandidatesWrong` and
/// `AwsError` can come in the middle: the same event goes on.
pub async fn handle(
    aws: &(impl Storage + VolumeWriter + Masters + MasterWriter),
    settings: &Settings,
    invocation: Invocation,
) -> Result<Value, Diagnostic> {
    let request = Request::decode(&invocation.event)?;
    let situation = match collect::collect(aws, settings, &request).await {
        Err(failure) if matches!(request.action, Action::Restore | Action::Undo) => {
            return Err(act::tell_suspended(aws, &request.cluster, failure).await);
        }
        situation => situation?,
    };
    let request = match request.action {
        Action::Undo => undo::named(request, &situation)?,
        _ => request,
    };
    let frame = Frame {
        request: &request,
        settings,
        region: &invocation.deployment.region,
    };
    let restore = match request.action {
        Action::List => return answer(&list_points(&request, &situation, settings)?),
        Action::Status => return answer(&show::status(frame, &situation)?),
        Action::Undo => None,
        Action::Restore | Action::Plan => {
            Some(restore(aws, &request, &situation, settings, &invocation).await?)
        }
    };
    let execution = Execution {
        request: &request,
        settings,
        restore,
        now: invocation.now,
        deadline: invocation.deadline,
    };
    let progress = match request.action {
        Action::Plan => Progress {
            work: execution.work(&situation)?,
            phase: Phase::Planned,
            fleet: situation.fleet_of_masters.clone(),
        },
        _ => execution.run(aws, situation.clone()).await?,
    };
    answer(&show::progress(frame, &progress, &situation))
}

/// Which restore it is, and what planning it needs beside what is there.
async fn restore(
    aws: &impl Masters,
    request: &Request,
    situation: &Situation,
    settings: &Settings,
    invocation: &Invocation,
) -> Result<(Attempt, Surroundings), Diagnostic> {
    let attempt = Attempt::of(request, situation, settings, invocation.now)?;
    let zones = match attempt.needs_zone_evidence(request, situation) {
        true => collect::zone_evidence(aws, &situation.fleet_of_masters).await?,
        false => ZoneEvidence::default(),
    };
    let surroundings = Surroundings {
        region: invocation.deployment.region.clone(),
        zones,
    };
    Ok((attempt, surroundings))
}

fn list_points(
    request: &Request,
    situation: &Situation,
    settings: &Settings,
) -> Result<ListAnswer, Diagnostic> {
    let etcd_clusters = choice::etcd_clusters(request, &situation.cluster, settings)?;
    let runs = restore_point::runs(&situation.cluster, &etcd_clusters, &settings.schedule);
    Ok(ListAnswer::new(&request.cluster, &runs))
}

fn answer(answer: &impl Serialize) -> Result<Value, Diagnostic> {
    serde_json::to_value(answer)
        .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))
}
