//! Brings a cluster's etcd volumes back from their snapshots when given its name.
//!
//! Collect ([`collect`]) → decide ([`attempt`] which restore, [`choice`] which snapshots, [`plan`] what becomes of each member,
//! [`step`] what is next) → show ([`answer`], [`next_steps`]) → act ([`execute`]). All state lives in
//! AWS: in the tags on the volumes, and in the client tokens they were made with.

pub mod answer;
pub mod attempt;
pub mod candidates;
pub mod choice;
pub mod collect;
pub mod event;
pub mod execute;
pub mod identity;
pub mod limits;
pub mod next_steps;
pub mod plan;
pub mod refusal;
pub mod step;
pub mod tags;
pub mod zone;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::{Masters, Storage, VolumeWriter};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::restore_point;
use etcd_backup_core::settings::Settings;
use serde::Serialize;
use serde_json::Value;

use crate::answer::{ListAnswer, RestoreAnswer};
use crate::attempt::Attempt;
use crate::collect::{Situation, ZoneEvidence};
use crate::event::{Action, Request};
use crate::plan::{Plan, Surroundings};
use crate::step::Phase;

/// Handles one invocation.
///
/// # Errors
///
/// A refusal that says what to do; nothing was changed then. `VolumeFailed`, `CandidatesWrong` and
/// `AwsError` can come in the middle: the same event goes on.
pub async fn handle(
    aws: &(impl Storage + VolumeWriter + Masters),
    settings: &Settings,
    invocation: Invocation,
) -> Result<Value, Diagnostic> {
    let request = Request::decode(&invocation.event)?;
    let situation = collect::collect(aws, settings, &request).await?;
    if request.action == Action::List {
        return answer(&list(&request, &situation, settings)?);
    }
    let attempt = Attempt::of(&request, &situation, settings, invocation.now)?;
    let zones = match attempt.needs_zone_evidence(&request, &situation) {
        true => collect::zone_evidence(aws, &request, &situation.masters).await?,
        false => ZoneEvidence::default(),
    };
    let surroundings = Surroundings {
        region: invocation.deployment.region,
        zones,
        now: invocation.now,
    };
    let (plan, phase) = match request.action {
        Action::Plan => {
            let plan = Plan::new(&request, &situation, settings, &attempt, &surroundings)?;
            (plan, Phase::Planned)
        }
        Action::Restore | Action::List => {
            let deadline = invocation.deadline;
            execute::execute(
                aws,
                settings,
                &request,
                situation,
                attempt,
                &surroundings,
                deadline,
            )
            .await?
        }
    };
    let next_steps = next_steps::next_steps(&plan, phase, &surroundings.region);
    answer(&RestoreAnswer::new(&plan, phase, next_steps))
}

fn list(
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
