//! Plays moves against the real function, and judges what comes of each.

mod advice;
mod invariants;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::restores::{answered_volumes, forget_lease, restore_function, volumes};
use e2e::{Actor, Fault, Function, InvocationOptions, LambdaError};
use etcd_backup_core::ids::VolumeId;
use serde_json::{Map, Value, json};

use crate::model::{Action, End, Event, Model, State, VolumesByMember};
use crate::moves::{Disturbance, InBetween, Meddler, Move};
use crate::world::World;

/// Long enough for masters to start in two waves, short enough to see one that never ends.
const INVOCATION: Duration = Duration::from_secs(240);

/// One sequence.
pub struct Play {
    world: World,
    /// What is expected.
    pub model: Model,
    restore: Function,
    transcript: Vec<String>,
    /// What masters were to find when nothing was under way last.
    found_before: BTreeMap<String, BTreeSet<VolumeId>>,
    resumptions_seen: usize,
    /// The last event's error.
    refused: Option<LambdaError>,
}

impl Play {
    /// Nothing has happened yet.
    pub async fn new(world: World) -> Self {
        let model = Model::new(world.seeded());
        let restore = restore_function(&world.aws).await;
        Self {
            found_before: model.should_be_found(),
            transcript: vec![format!("a cluster of {}", world.name)],
            world,
            model,
            restore,
            resumptions_seen: 0,
            refused: None,
        }
    }

    /// The cluster.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What happened, for whoever has to understand a failure.
    pub fn transcript(&self) -> String {
        format!(
            "{}\nmodel: {:#?}\nlog:\n{}",
            self.transcript.join("\n"),
            self.model,
            self.restore.logs()
        )
    }

    /// Makes a move. An error says what is not as the model has it.
    pub async fn make(&mut self, next: Move) -> Result<(), String> {
        self.transcript.push(format!("{next:?}"));
        match next {
            Move::Send {
                action,
                options,
                again,
                planned,
                disturbance,
            } => {
                let (asked, event) = self.world.event(action, options, again);
                match planned {
                    Some(in_between) => self.plan_and_send(&asked, event, in_between).await?,
                    None => self.send(&asked, event, disturbance).await?,
                }
            }
            Move::NextMorning => self.next_morning().await,
            Move::Wait(minutes) => {
                let seconds = u64::try_from(minutes * 60).expect("time goes on");
                self.world.aws.advance(Duration::from_secs(seconds)).await;
            }
            Move::Lose { in_service, nth } => self.lose(in_service, nth).await?,
            Move::Meddle(by) => self.meddle(by).await,
            Move::Look => self.look().await?,
        }
        self.verify().await
    }

    /// Brings whatever is under way to its end, and shows that the cluster can be restored and put back.
    pub async fn settle(&mut self) -> Result<(), String> {
        self.transcript.push("the end".to_owned());
        for attempt in 0..12 {
            let Some(unfinished) = self.model.unfinished() else {
                break;
            };
            let own = match unfinished.state {
                State::Unfinished(Some(action)) => action,
                _ => Action::Undo,
            };
            // Where its own event comes to no end, the one that turns it back does; where neither does, a
            // new restore.
            let back = match own {
                Action::Undo => Action::Redo,
                Action::Restore | Action::Redo => Action::Undo,
            };
            let (action, options, again) = match attempt % 4 {
                0 => (own, unfinished.options, false),
                1 => (back, 0, false),
                2 => (Action::Restore, unfinished.options, false),
                _ => (Action::Restore, 0, true),
            };
            self.untag_what_somebody_tagged().await;
            let (asked, event) = self.world.event(action, options, again);
            self.send(&asked, event, Disturbance::None).await?;
            self.verify().await?;
            self.follow_advice().await;
        }
        if self.model.unfinished().is_some() {
            return Err("it is stuck".to_owned());
        }
        self.untag_what_somebody_tagged().await;
        self.world.aws.advance(Duration::from_secs(20 * 60)).await;
        for (action, again) in [(Action::Restore, true), (Action::Undo, false)] {
            let (asked, event) = self.world.event(action, 0, again);
            self.send(&asked, event, Disturbance::None).await?;
            self.verify().await?;
        }
        Ok(())
    }

    async fn plan_and_send(
        &mut self,
        asked: &Event,
        event: Map<String, Value>,
        in_between: InBetween,
    ) -> Result<(), String> {
        let now = self.world.aws.clock().await;
        let may_end = self.model.may_end(asked, now);
        let mut plan = event.clone();
        plan.insert("action".to_owned(), json!("plan"));
        plan.insert("of".to_owned(), event["action"].clone());
        let planned = self.invoke(plan).await;
        let changes = may_end
            .iter()
            .any(|end| matches!(end, End::NewRestore | End::Done | End::Undone));
        let plan_id = match &planned {
            Ok(answer) => answer["plan_id"].as_str().map(str::to_owned),
            Err(error) if may_end.iter().any(|end| refuses(end, error)) => return Ok(()),
            Err(error) => return Err(format!("a plan was refused: {error}; allowed: {may_end:?}")),
        };
        let Some(plan_id) = plan_id else {
            let only = may_end.len() == 1;
            return if changes && only {
                Err(format!("a plan without an id: {planned:?}"))
            } else {
                Ok(())
            };
        };
        let scope = match self.model.newest() {
            Some(newest) if asked.action != Action::Restore => {
                newest.outgoing.keys().cloned().collect()
            }
            _ => asked.scope.clone(),
        };
        let had_all = scope
            .iter()
            .all(|member| self.model.in_service[member].is_some());
        let differs = match in_between {
            InBetween::Nothing => false,
            InBetween::TagsCleaned => {
                self.meddle(Meddler::Cleaner).await;
                false
            }
            InBetween::NextMorning => {
                self.next_morning().await;
                let is_of_a_time = self.world.options[asked.options].is_of_a_time;
                asked.action == Action::Restore && !is_of_a_time && had_all
            }
            InBetween::Loss => {
                let volume = scope
                    .iter()
                    .filter_map(|member| self.model.in_service[member].clone())
                    .next();
                match volume {
                    Some(volume) => {
                        self.lose_volume(&volume).await;
                        true
                    }
                    None => false,
                }
            }
        };
        let now = self.world.aws.clock().await;
        let mut may_end = self.model.may_end(asked, now);
        if differs {
            may_end.retain(|end| !matches!(end, End::NewRestore | End::Done | End::Undone));
            may_end.insert(End::Refused(&["PlanChanged"]));
        }
        let mut event = event;
        event.insert("plan_id".to_owned(), json!(plan_id));
        self.world.aws.clear_calls().await;
        let result = self.invoke(event).await;
        self.take_over(asked, &may_end, result).await
    }

    async fn send(
        &mut self,
        asked: &Event,
        event: Map<String, Value>,
        disturbance: Disturbance,
    ) -> Result<(), String> {
        let aws = &self.world.aws;
        let now = aws.clock().await;
        let may_end = self.model.may_end(asked, now);
        aws.clear_calls().await;
        let result = match disturbance {
            Disturbance::None => Some(self.invoke(event).await),
            Disturbance::Kill(point) => {
                let time_passing = self.let_time_pass();
                tokio::select! {
                    result = self.restore.invoke_and_crash(aws, Value::Object(event), point) => result,
                    () = time_passing => unreachable!("time passes for ever"),
                }
            }
            Disturbance::Fail {
                service,
                operation,
                nth,
            } => {
                let (code, status) = match service {
                    "ec2" => ("UnauthorizedOperation", 403),
                    "dynamodb" => ("AccessDeniedException", 400),
                    _ => ("AccessDenied", 403),
                };
                let fault = Fault::error(service, operation, code, status);
                aws.fault(fault.nth(nth).forever()).await;
                let result = self.invoke(event).await;
                aws.clear_faults().await;
                Some(result)
            }
            Disturbance::LoseAnswer {
                service,
                operation,
                nth,
            } => {
                aws.fault(Fault::drop_answer(service, operation).nth(nth))
                    .await;
                let result = self.invoke(event).await;
                aws.clear_faults().await;
                Some(result)
            }
            Disturbance::Meddle { by, nth } => {
                aws.fault(Fault::act("*", "*", &self.actor(by)).nth(nth))
                    .await;
                let result = self.invoke(event).await;
                aws.clear_faults().await;
                Some(result)
            }
        };
        match result {
            Some(Err(error)) if error.error_type == "AwsError" => {
                self.transcript.push(format!("  -> {error}"));
                self.look_how_far(asked, &may_end).await
            }
            Some(result) => self.take_over(asked, &may_end, result).await,
            None => {
                self.transcript.push("  -> killed".to_owned());
                self.restore.restart().await;
                forget_lease(&self.world.aws, self.world.cluster.name()).await;
                self.look_how_far(asked, &may_end).await
            }
        }
    }

    /// Invokes while the masters' time goes on.
    async fn invoke(&self, event: Map<String, Value>) -> Result<Value, LambdaError> {
        let event = Value::Object(event);
        let options = InvocationOptions::within(INVOCATION);
        tokio::select! {
            result = self.restore.invoke_with(event, options) => result,
            () = self.let_time_pass() => unreachable!("time passes for ever"),
        }
    }

    /// Whenever a master has attached its volumes, four minutes pass.
    async fn let_time_pass(&self) {
        if !self.world.masters_start {
            return std::future::pending().await;
        }
        self.world.aws.let_masters_start_fast().await;
    }

    /// Takes over what an event came to, if it may have.
    async fn take_over(
        &mut self,
        asked: &Event,
        may_end: &BTreeSet<End>,
        result: Result<Value, LambdaError>,
    ) -> Result<(), String> {
        let told = match &result {
            Ok(answer) => format!("{} {}", answer["restore_id"], answer["phase"]),
            Err(error) => error.to_string(),
        };
        self.transcript.push(format!("  -> {told}"));
        self.refused = result.as_ref().err().cloned();
        let end = match &result {
            Ok(answer) => self.end_of(asked, answer)?,
            Err(error) => {
                let refusing = may_end.iter().find(|end| refuses(end, error));
                refusing
                    .cloned()
                    .ok_or_else(|| format!("{error}; allowed: {may_end:?}"))?
            }
        };
        if !may_end.contains(&end) {
            return Err(format!("{end:?}: {told}; allowed: {may_end:?}"));
        }
        let changes = !matches!(end, End::DoneBefore | End::UndoneBefore | End::Refused(_));
        if !changes {
            let writes = self.world.aws.writes().await;
            let writes = writes.iter().filter(|call| call.service != "dynamodb");
            let writes: Vec<_> = writes.map(|call| &call.operation).collect();
            if !writes.is_empty() {
                return Err(format!("{end:?} and yet it wrote: {writes:?}"));
            }
        }
        match (end, result) {
            (End::NewRestore, Ok(answer)) => {
                let id = answer["restore_id"].as_str().unwrap_or_default();
                let gives_up = self.model.unfinished().is_some();
                self.model.begin(id.to_owned(), asked);
                if gives_up {
                    self.model.took(retired(&answer));
                }
                self.bring(&answer).await
            }
            (End::Done, Ok(answer)) => {
                if asked.again && asked.action == Action::Restore {
                    self.model.said_again();
                }
                self.bring(&answer).await
            }
            (End::Undone, Ok(_)) => {
                self.model.put_back();
                Ok(())
            }
            (End::Refused(_), Err(error)) if error.error_type == "RestoreInProgress" => {
                self.model.undo_is_under_way(asked);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn bring(&mut self, answer: &Value) -> Result<(), String> {
        let now = self.world.aws.clock().await;
        let incoming = answered_volumes(answer);
        let newest = self.model.newest().expect("it was begun");
        let members: BTreeSet<_> = incoming.keys().collect();
        if members != newest.outgoing.keys().collect() {
            return Err(format!("it is of {members:?}"));
        }
        if let Some(before) = &newest.incoming
            && *before != incoming
            && !before.values().any(|id| self.model.lost.contains(id))
        {
            return Err(format!(
                "it brought {before:?} before, and now {incoming:?}"
            ));
        }
        self.model.bring(incoming, now);
        Ok(())
    }

    /// What an answer says that it came to.
    fn end_of(&self, asked: &Event, answer: &Value) -> Result<End, String> {
        let newest = self.model.newest();
        let is_newest = newest.is_some_and(|newest| answer["restore_id"] == newest.id.as_str());
        let state = newest.map(|newest| &newest.state);
        let end = match (answer["phase"].as_str(), asked.action) {
            (Some("done"), Action::Restore) if !is_newest => End::NewRestore,
            (Some("done"), Action::Restore | Action::Redo) if state == Some(&State::Done) => {
                End::DoneBefore
            }
            (Some("done"), Action::Restore | Action::Redo) => End::Done,
            (Some("undone"), Action::Undo) if state == Some(&State::Undone) => End::UndoneBefore,
            (Some("undone"), Action::Undo) => End::Undone,
            _ => return Err(format!("an answer that is no end: {answer}")),
        };
        if end != End::NewRestore && !is_newest {
            return Err(format!("it answered of another restore: {answer}"));
        }
        Ok(end)
    }

    /// After an interruption: what the product says of itself, if that may be.
    async fn look_how_far(&mut self, asked: &Event, may_end: &BTreeSet<End>) -> Result<(), String> {
        let of_cluster = |action: &str| {
            let event = json!({"cluster": self.world.cluster.name(), "action": action});
            event.as_object().expect("an object").clone()
        };
        let history = self.invoke(of_cluster("history")).await;
        let history = history.map_err(|error| format!("history: {error}"))?;
        let restores = history["restores"].as_array().cloned().unwrap_or_default();
        let before = self.model.restores.len();
        let is_new = restores.len() == before + 1;
        if !is_new && restores.len() != before {
            return Err(format!("there were {before} restores, and now {history}"));
        }
        let Some(newest) = restores.first() else {
            return Ok(());
        };
        if is_new {
            if !may_end.contains(&End::NewRestore) {
                return Err(format!("a new restore, though allowed is {may_end:?}"));
            }
            let id = newest["restore_id"].as_str().unwrap_or_default().to_owned();
            self.model.begin(id, asked);
        }
        let phase = newest["phase"].as_str().unwrap_or_default();
        self.transcript.push(format!(
            "  -> interrupted: {} {phase}",
            newest["restore_id"]
        ));
        let state = self.model.newest().map(|newest| newest.state.clone());
        match (phase, state) {
            ("done", Some(State::Done)) | ("undone", Some(State::Undone)) => {}
            ("done", _) => {
                let status = self.invoke(of_cluster("status")).await;
                let status = status.map_err(|error| format!("status: {error}"))?;
                self.bring(&status).await?;
            }
            ("undone", _) => self.model.put_back(),
            _ => self.model.interrupted(asked.action),
        }
        Ok(())
    }

    async fn next_morning(&self) {
        let aws = &self.world.aws;
        let morning = e2e::backed_up::next_morning(aws.clock().await);
        aws.set_clock(morning).await;
    }

    async fn lose(&mut self, in_service: bool, nth: usize) -> Result<(), String> {
        let serving: BTreeSet<VolumeId> =
            self.model.in_service.values().flatten().cloned().collect();
        let volumes: Vec<VolumeId> = if in_service {
            serving.into_iter().collect()
        } else {
            let all = volumes(&self.world.aws).await.into_iter();
            let roots: BTreeSet<_> = self
                .world
                .cluster
                .masters
                .iter()
                .map(|master| &master.root_volume)
                .collect();
            all.filter(|(id, volume)| {
                let is_root =
                    roots.contains(id) || volume.snapshot.is_none() && !self.is_seeded(id);
                !is_root && !serving.contains(id)
            })
            .map(|(id, _)| id)
            .collect()
        };
        if let Some(volume) = volumes.get(nth % volumes.len().max(1)) {
            let volume = volume.clone();
            self.lose_volume(&volume).await;
        }
        Ok(())
    }

    fn is_seeded(&self, id: &VolumeId) -> bool {
        self.world
            .cluster
            .volumes
            .values()
            .any(|seeded| seeded == id)
    }

    async fn lose_volume(&mut self, volume: &VolumeId) {
        self.transcript.push(format!("  {volume} is lost"));
        self.world
            .cluster
            .lose_volume(&self.world.aws, volume)
            .await;
        self.model.lose(volume);
    }

    fn actor(&self, by: Meddler) -> Actor {
        match by {
            Meddler::Kops => Actor::kops_update(&self.world.cluster, false),
            Meddler::Cleaner => Actor::tag_cleaner(),
            Meddler::Terraform => Actor::terraform_apply(&self.world.cluster),
        }
    }

    async fn meddle(&mut self, by: Meddler) {
        self.world.aws.act(&self.actor(by)).await;
        if by == Meddler::Terraform {
            self.model.tag_again(&self.world.seeded());
        }
    }

    /// What a person does whom `MemberDuplicated` told to.
    async fn untag_what_somebody_tagged(&mut self) {
        for id in std::mem::take(&mut self.model.tagged_again).into_values() {
            let keys = volumes(&self.world.aws).await[&id].tags.clone().into_keys();
            let off = Map::from_iter(keys.map(|key| (key, Value::Null)));
            self.world.aws.set_volume(&id, json!({"tags": off})).await;
        }
    }

    /// What a person does whom a refusal told which volumes to take out of the masters' sight.
    async fn follow_advice(&mut self) {
        let Some(error) = self.refused.take() else {
            return;
        };
        for id in advice::out_of_sight(&error.error_type, &error.message) {
            self.transcript
                .push(format!("  {id} is taken out of sight, as told"));
            let tags = volumes(&self.world.aws).await[&id].tags.clone();
            let etcd = tags
                .into_keys()
                .filter(|key| key.starts_with("k8s.io/etcd/"));
            let off = Map::from_iter(etcd.map(|key| (key, Value::Null)));
            self.world.aws.set_volume(&id, json!({"tags": off})).await;
            self.model.out_of_sight(&id);
        }
    }

    async fn look(&self) -> Result<(), String> {
        self.world.aws.clear_calls().await;
        for action in ["history", "list", "status"] {
            let event = json!({"cluster": self.world.cluster.name(), "action": action});
            let answer = self.restore.invoke(event).await;
            let is_none_yet = action == "status" && self.model.newest().is_none();
            match answer {
                Err(error) if is_none_yet && error.error_type == "RestoreNotFound" => {}
                Ok(_) if !is_none_yet => {}
                other => return Err(format!("{action}: {other:?}")),
            }
        }
        match self.world.aws.writes().await.first() {
            Some(write) => Err(format!("a look wrote: {}", write.operation)),
            None => Ok(()),
        }
    }
}

fn refuses(end: &End, error: &LambdaError) -> bool {
    match end {
        End::Refused(names) | End::Failed(names) => names.contains(&error.error_type.as_str()),
        _ => false,
    }
}

/// What an answer says that was taken out of service, by member.
fn retired(answer: &Value) -> VolumesByMember {
    let members = answer["members"].as_array().into_iter().flatten();
    let of_member = |member: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = format!(
            "{}/{}",
            text(&member["etcd_cluster"]),
            text(&member["member"])
        );
        let retired = member["retired"][0].as_str().map(VolumeId::from);
        (key, retired)
    };
    members.map(of_member).collect()
}
