//! Brings a cluster's etcd volumes back from their snapshots when given its name, and undoes it.
//!
//! Collect ([`collect`]: what is there) → decide ([`decide`]: what it means and what is next) → show
//! ([`show`]: how it is shown) → act ([`act`]: what is done). What a restore is going to do is in its record,
//! which is written before anything is done; what was done is read from AWS.

pub mod act;
pub mod collect;
pub mod decide;
pub mod event;
pub mod schema;
pub mod show;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::RestoreId;
use etcd_backup_core::restore_record::{LAYOUT, RestoreRecord, RestoreStage};
use etcd_backup_core::restore_table::Tokens;
use etcd_backup_core::settings::Settings;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::act::Stop;
use crate::act::execution::{Execution, MARGIN, Observations, World};
use crate::act::lease::{Lease, LeaseKey, LeaseOutcome, LeasedWork, RecordSlot};
use crate::collect::inventory::{self, Inventory};
use crate::collect::records::{Records, unreachable_table};
use crate::decide::aim::Aim;
use crate::decide::follow_up::Subject;
use crate::decide::intent;
use crate::decide::masters_find::MastersFind;
use crate::decide::{Context, Decision, choice, plan_id, same_event, unfinished};
use crate::event::{Action, Request};
use crate::show::answer;
use crate::show::history::HistoryAnswer;
use crate::show::list::ListAnswer;

/// Handles one invocation.
///
/// # Errors
///
/// A refusal that says what to do; nothing was changed then. `VolumeFailed`, `CandidatesWrong` and
/// `AwsError` can come in the middle: the same event goes on.
pub async fn handle(
    aws: &impl World,
    settings: &Settings,
    table: &str,
    invocation: Invocation,
) -> Result<Value, Diagnostic> {
    let request = Request::decode(&invocation.event)?;
    let function = Function {
        aws,
        settings,
        table,
        invocation: &invocation,
        request: &request,
    };
    match request.action {
        Action::Restore | Action::Undo | Action::Redo => function.carry_out().await,
        Action::List | Action::Plan | Action::Status | Action::History => function.look().await,
    }
}

/// All that an invocation goes by.
struct Function<'a, Aws> {
    aws: &'a Aws,
    settings: &'a Settings,
    table: &'a str,
    invocation: &'a Invocation,
    request: &'a Request,
}

/// A record to be carried out, or that was, with what it was decided from.
struct Work {
    slot: RecordSlot,
    record: RestoreRecord,
    inventory: Inventory,
    records: Records,
    /// What masters' filters showed last, where they were asked since.
    found: Option<MastersFind>,
    /// The restore that this one gives up, if any, to be written before it.
    gives_up: Option<(RecordSlot, RestoreRecord)>,
}

/// What an event that changes something means.
enum Decided {
    /// There is something to do, or was.
    Work(Box<Work>),
    /// It was over before.
    Over(Box<Work>),
}

impl<Aws: World> Function<'_, Aws> {
    fn context(&self) -> Context<'_> {
        Context {
            settings: self.settings,
            region: &self.invocation.deployment.region,
            now: (self.invocation.clock)(),
        }
    }

    async fn records(&self) -> Result<Records, Diagnostic> {
        Records::read(self.aws, self.table, &self.request.cluster).await
    }

    /// The actions that write nothing.
    async fn look(&self) -> Result<Value, Diagnostic> {
        let records = self.records().await?;
        if self.request.action == Action::History {
            return json(&HistoryAnswer::new(&self.request.cluster, &records));
        }
        let inventory = inventory::read(self.aws, self.settings, self.request, &records).await?;
        let answer = match self.request.action {
            Action::List => self.list(&records, &inventory),
            Action::Status => self.status(&records, &inventory),
            _ => self.plan(&records, &inventory),
        };
        answer.map_err(|refusal| unfinished::with_suspended_groups(refusal, &records, &inventory))
    }

    fn list(&self, records: &Records, inventory: &Inventory) -> Result<Value, Diagnostic> {
        decide::refuse_unknown_cluster(self.request, inventory, self.context())?;
        let cluster = &inventory.cluster;
        let etcd_clusters = choice::etcd_clusters(self.request, cluster, self.settings)?;
        let history = decide::history(records, inventory, self.context());
        let runs = history.runs(&etcd_clusters);
        let members = cluster.members.iter();
        let members = members
            .filter(|(_, member)| !member.volumes.is_empty())
            .map(|(key, member)| (key, member.volumes.first().map(|volume| &volume.zone)));
        let name = &self.request.cluster;
        let find = MastersFind::new(name, members, &inventory.volumes);
        json(&ListAnswer::new(name, &runs, &find))
    }

    fn status(&self, records: &Records, inventory: &Inventory) -> Result<Value, Diagnostic> {
        let record = &intent::asked_for(self.request, records)?.record;
        let subject = Subject {
            record,
            phase: record.stage(),
            was_over: false,
            plan_id: None,
            found: None,
        };
        self.answer(subject, inventory, records)
    }

    fn plan(&self, records: &Records, inventory: &Inventory) -> Result<Value, Diagnostic> {
        let decision = decide::decide(self.request, records, inventory, self.context())?;
        let (record, was_over) = match decision {
            Decision::Begin(record) | Decision::Turn(_, record) | Decision::GoOn(_, record) => {
                (*record, false)
            }
            Decision::Repeat(known) => (known.record.clone(), true),
        };
        let plan_id = plan_id::plan_id(&record, inventory);
        let subject = Subject {
            record: &record,
            phase: RestoreStage::Planned,
            was_over,
            plan_id: Some(&plan_id),
            found: None,
        };
        self.answer(subject, inventory, records)
    }

    /// The actions that write. What is refused, or done already, is so before the lease is taken: nothing
    /// at all is written then.
    ///
    /// An invocation whose lease was taken from it, as it was too slow, waits for the other one like any
    /// that comes later.
    async fn carry_out(&self) -> Result<Value, Diagnostic> {
        let mut lost_before: Option<Diagnostic> = None;
        let mut aim: Option<Aim> = None;
        loop {
            let before = match (self.decided(&mut aim).await, lost_before) {
                (Ok(before), _) => before,
                (Err(failure), None) => return Err(failure),
                // Another event has taken over what this one did before.
                (Err(failure), Some(_)) if failure.error_type == ErrorType::RestoreInProgress => {
                    return Err(failure);
                }
                // This invocation may have done something before it lost the lease.
                (Err(failure), Some(lost)) => {
                    return Err(lost.with(&format!(
                        "launches that it suspended stay suspended until then ({failure})"
                    )));
                }
            };
            let Decided::Work(work) = before else {
                return self.over(before);
            };
            let event = same_event::fingerprint(self.request, &work.record, &work.inventory);
            let lease = self.take_lease(&event, &work.record.id).await?;
            let outcome = self.under(&lease, *work, &mut aim).await;
            match outcome {
                Ok(outcome) => {
                    lease.release().await;
                    return self.over(outcome);
                }
                Err(Stop::Failed(failure)) => {
                    lease.release().await;
                    return Err(failure);
                }
                Err(Stop::LeaseLost(lost)) => {
                    tracing::warn!(cluster = self.request.cluster.as_str(), "{lost}");
                    if Instant::now() + MARGIN >= self.invocation.deadline {
                        return Err(lost.into());
                    }
                    lost_before = Some(lost.into());
                }
            }
        }
    }

    /// The answer when nothing is left to do, or no time.
    fn over(&self, decided: Decided) -> Result<Value, Diagnostic> {
        let (work, was_over) = match decided {
            Decided::Work(work) => (work, false),
            Decided::Over(work) => (work, true),
        };
        let subject = Subject {
            record: &work.record,
            phase: work.record.stage(),
            was_over,
            plan_id: None,
            found: work.found.as_ref(),
        };
        self.answer(subject, &work.inventory, &work.records)
    }

    /// Reads all that the event is about, and decides what is to be done: what the invocation's first decision
    /// was about, or nothing.
    async fn decided(&self, aim: &mut Option<Aim>) -> Result<Decided, Diagnostic> {
        let records = self.records().await?;
        let read = inventory::read(self.aws, self.settings, self.request, &records).await;
        let inventory = read.map_err(|error| unfinished::with_recorded_groups(error, &records))?;
        let decision = decide::decide(self.request, &records, &inventory, self.context())
            .map_err(|refusal| unfinished::with_suspended_groups(refusal, &records, &inventory))?;
        match aim {
            Some(aim) => aim
                .refuse_other(&decision, &records, self.request, &inventory)
                .map_err(|refusal| {
                    unfinished::with_suspended_groups(refusal, &records, &inventory)
                })?,
            None => *aim = Some(Aim::of(&decision, &records)),
        }
        let is_over = matches!(decision, Decision::Repeat(_));
        let gives_up = match (&decision, intent::given_up(&records)) {
            (Decision::Begin(_), Some(known)) => {
                Some((RecordSlot::of(&known.stored), known.record.clone()))
            }
            _ => None,
        };
        let (slot, record) = match decision {
            Decision::Begin(record) => (RecordSlot::free(records.next_number()), *record),
            Decision::Turn(known, record) | Decision::GoOn(known, record) => {
                (RecordSlot::of(&known.stored), *record)
            }
            Decision::Repeat(known) => (RecordSlot::of(&known.stored), known.record.clone()),
        };
        let work = Box::new(Work {
            slot,
            record,
            inventory,
            records,
            found: None,
            gives_up,
        });
        Ok(if is_over {
            Decided::Over(work)
        } else {
            Decided::Work(work)
        })
    }

    async fn take_lease(&self, event: &str, restore_id: &RestoreId) -> Result<Lease, Diagnostic> {
        let cluster = &self.request.cluster;
        let key = LeaseKey {
            table: self.table.to_owned(),
            cluster: cluster.clone(),
        };
        let tokens = Tokens::new(&self.invocation.id);
        // Some time is left for the answer, even where another invocation works until the end.
        let deadline = self.invocation.deadline - MARGIN;
        let work = LeasedWork {
            event,
            restore_id: Some(restore_id),
        };
        let taking = Lease::take(self.aws, key, tokens, work, deadline).await;
        let (holder, is_same) =
            match taking.map_err(|error| unreachable_table(self.table, error))? {
                LeaseOutcome::Held(lease) => return Ok(lease),
                LeaseOutcome::OtherEvent(holder) => (holder, false),
                LeaseOutcome::TimeUp(holder) => (holder, true),
            };
        let refusal = unfinished::lease_taken(cluster, holder, is_same);
        Err(self.with_recorded_groups(refusal).await)
    }

    /// Under the lease the records are read once more: where somebody else has worked meanwhile, everything
    /// is read and decided anew.
    async fn under(
        &self,
        lease: &Lease,
        before: Work,
        aim: &mut Option<Aim>,
    ) -> Result<Decided, Stop> {
        let work = if self.records().await?.are_as(&before.records) {
            before
        } else {
            match self.decided(aim).await? {
                Decided::Work(work) => *work,
                over @ Decided::Over(_) => return Ok(over),
            }
        };
        if let Some((slot, record)) = work.gives_up {
            self.give_up(lease, slot, record).await?;
        }
        let record = work.record;
        lease.name_restore(&record.id);
        let mut execution = Execution {
            aws: self.aws,
            lease,
            slot: work.slot,
            record,
            inventory: work.inventory,
            settings: self.settings,
            region: &self.invocation.deployment.region,
            clock: self.invocation.clock,
            deadline: self.invocation.deadline,
            seen: Observations::default(),
        };
        // The record is saved before anything is done. Where a turn is continued, this also makes every later
        // write of the invocation that was at work before fail.
        execution.save().await?;
        execution.run().await?;
        Ok(Decided::Work(Box::new(Work {
            slot: execution.slot,
            record: execution.record,
            inventory: execution.inventory,
            records: work.records,
            found: execution.seen.found,
            gives_up: None,
        })))
    }

    /// Before the new one is written: two unfinished ones must never be there.
    async fn give_up(
        &self,
        lease: &Lease,
        mut slot: RecordSlot,
        mut record: RestoreRecord,
    ) -> Result<(), Stop> {
        record.abandoned_at = Some((self.invocation.clock)());
        let body = act::body(&record)?;
        lease
            .write_record(self.aws, &mut slot, LAYOUT, &body)
            .await?;
        tracing::warn!(
            cluster = record.cluster.as_str(),
            restore_id = record.id.as_str(),
            "given up, as it can go neither on nor back"
        );
        Ok(())
    }

    fn answer(
        &self,
        subject: Subject,
        inventory: &Inventory,
        records: &Records,
    ) -> Result<Value, Diagnostic> {
        let action = self.request.action;
        json(&answer::answer(
            action,
            subject,
            inventory,
            records,
            self.context(),
        ))
    }

    /// Adds the launches that the records say are suspended, if the records can be read.
    async fn with_recorded_groups(&self, refusal: Diagnostic) -> Diagnostic {
        match self.records().await {
            Ok(records) => unfinished::with_recorded_groups(refusal, &records),
            Err(_) => refusal,
        }
    }
}

fn json(answer: &impl Serialize) -> Result<Value, Diagnostic> {
    serde_json::to_value(answer)
        .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))
}
