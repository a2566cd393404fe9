//! One invocation at a time works on a cluster: the lease that it holds meanwhile.
//!
//! The lease is an item of the table of restores. It is short, and renewed by a task in the background
//! while its holder works, so that an invocation that was killed holds nothing up for long.
//!
//! Invariants:
//!
//! - No decision reads a wall clock. A holder counts from *before* it sent a renewal; whoever waits
//!   counts from when it had read the lease, and takes over on the condition that nothing was written to
//!   it since. So the holder's time is over before another's begins, whatever their clocks say.
//! - What a holder writes, to the table or to EC2, runs inside [`Lease::during`], which ends it when the
//!   lease does: EC2 knows no fencing. [`ENDS_EARLY`] is what a call that was sent by then may still take
//!   on its way.
//! - A record is written on the condition that it is as this holder saw it last. Whoever takes a lease
//!   over writes the unfinished record once, changed or not, before anything else: from then on no write
//!   of its predecessor succeeds.

mod keeping;
mod record;
mod waiting;

use std::fmt;
use std::time::Duration;

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{ClusterName, RestoreId};
use etcd_backup_core::restore_table::{LeaseHolder, RestoreTable, StoredLease, Tokens, Written};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use keeping::{Keeping, Renewing};
pub use record::{RecordError, RecordSlot};
use waiting::{Move, Waiting};

/// How long a lease lasts that isn't renewed.
pub const LASTS: Duration = Duration::from_secs(10);
/// How much earlier its holder stops.
pub const ENDS_EARLY: Duration = Duration::from_secs(2);
/// From one renewal to the next. Another event's invocation is refused when it has seen one, as that
/// tells a holder at work from one that was killed.
pub const RENEWED_EVERY: Duration = Duration::from_secs(2);
/// Between two looks of one who waits.
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// Giving the lease back is worth so much time: without it, the next one waits for [`LASTS`].
const GIVING_BACK_MAX: Duration = Duration::from_secs(3);

/// Whose lease, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKey {
    /// The table of restores.
    pub table: String,
    /// The cluster.
    pub cluster: ClusterName,
}

/// What a lease is taken for.
#[derive(Clone, Copy, Debug)]
pub struct LeasedWork<'a> {
    /// The event's fingerprint.
    pub event: &'a str,
    /// The restore that the event is about, as far as is known before the lease is held.
    pub restore_id: Option<&'a RestoreId>,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// It is held from now on.
    Held(Lease),
    /// Another invocation, for another event, is at work.
    OtherEvent(LeaseHolder),
    /// Another invocation, for the same event, is at work, and did not end before the deadline.
    TimeUp(LeaseHolder),
}

/// A lease that is held. Dropping it stops the renewals, and leaves the lease to run out; on every
/// ordinary way out [`release`](Self::release) it.
#[derive(Debug)]
pub struct Lease {
    key: LeaseKey,
    tokens: Tokens,
    validity: watch::Receiver<Validity>,
    restore_id: watch::Sender<Option<RestoreId>>,
    release: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// How long a lease is held for certain.
#[derive(Clone, Debug)]
enum Validity {
    /// Unless it is renewed; and what the last renewal failed with.
    Until(Instant, Option<AwsError>),
    /// Another invocation has it.
    Lost,
}

/// The lease ended before its holder's work did.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct LeaseLost {
    cluster: ClusterName,
    /// What the last renewal failed with; `None` where another invocation has the lease.
    pub cause: Option<AwsError>,
}

impl fmt::Display for LeaseLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = &self.cluster;
        match &self.cause {
            None => write!(
                f,
                "another invocation has taken over what this one did for {cluster}, as this one was too \
                 slow; send the same event again: it waits for the other one and gives its answer"
            ),
            Some(cause) => write!(
                f,
                "this invocation stopped, as it could not keep other invocations away from {cluster}: \
                 {cause}; send the same event again: it goes on where this one stopped"
            ),
        }
    }
}

impl From<LeaseLost> for Diagnostic {
    fn from(lost: LeaseLost) -> Self {
        match lost.cause.clone() {
            Some(cause) => {
                let mut diagnostic = Self::from(cause);
                diagnostic.message = lost.to_string();
                diagnostic
            }
            None => Self::new(ErrorType::RestoreInProgress, lost.to_string()),
        }
    }
}

impl Lease {
    /// Takes a cluster's lease for an event: at once where it is free; when its
    /// holder has ended, or was killed, where it works for the same event. An invocation for another event
    /// waits only until it knows whether the holder is alive.
    ///
    /// # Errors
    ///
    /// When the table can't be read or written: nothing is to be begun then.
    pub async fn take<Table>(
        aws: &Table,
        key: LeaseKey,
        tokens: Tokens,
        work: LeasedWork<'_>,
        deadline: Instant,
    ) -> Result<LeaseOutcome, AwsError>
    where
        Table: RestoreTable + Clone + Send + Sync + 'static,
    {
        let LeasedWork { event, restore_id } = work;
        let ours = LeaseHolder {
            invocation_id: tokens.holder().to_owned(),
            event: event.to_owned(),
            restore_id: restore_id.cloned(),
        };
        let mut waiting = Waiting::new(event);
        let mut found = aws.lease(&key.table, &key.cluster).await?;
        loop {
            let seen = match waiting.look(found.as_ref(), Instant::now()) {
                Move::Take(seen) => seen,
                Move::Hold(token, sent_at) => {
                    let keeping = Keeping::new(token, sent_at);
                    return Ok(LeaseOutcome::Held(Self::keep(
                        aws, key, tokens, ours, keeping,
                    )));
                }
                Move::Refuse(holder) => return Ok(LeaseOutcome::OtherEvent(holder)),
                Move::Wait(holder) if Instant::now() + LOOKS_EVERY >= deadline => {
                    return Ok(if holder.event == event {
                        LeaseOutcome::TimeUp(holder)
                    } else {
                        LeaseOutcome::OtherEvent(holder)
                    });
                }
                Move::Wait(_) => {
                    sleep(LOOKS_EVERY).await;
                    found = aws.lease(&key.table, &key.cluster).await?;
                    continue;
                }
            };
            let lease = StoredLease {
                token: tokens.fresh(),
                held: Some(ours.clone()),
            };
            waiting.sends(lease.token.clone(), Instant::now());
            let written = aws
                .write_lease(&key.table, &key.cluster, &lease, seen.as_ref())
                .await?;
            found = match written {
                Written::Done => Some(lease),
                Written::Refused(found) => found,
            };
        }
    }

    fn keep<Table>(
        aws: &Table,
        key: LeaseKey,
        tokens: Tokens,
        holder: LeaseHolder,
        keeping: Keeping,
    ) -> Self
    where
        Table: RestoreTable + Clone + Send + Sync + 'static,
    {
        let (validity_sender, validity) = watch::channel(Validity::Until(keeping.until(), None));
        let (restore_id, restore_ids) = watch::channel(holder.restore_id.clone());
        let (release, released) = oneshot::channel();
        let renewing = Renewing {
            aws: aws.clone(),
            key: key.clone(),
            tokens: tokens.clone(),
            holder,
            keeping,
            validity: validity_sender,
            restore_ids,
        };
        Self {
            key,
            tokens,
            validity,
            restore_id,
            release: Some(release),
            task: tokio::spawn(renewing.run(released)),
        }
    }

    /// Whose lease it is, and where it is kept.
    pub fn key(&self) -> &LeaseKey {
        &self.key
    }

    /// How long it is held for certain if no renewal comes through any more.
    pub fn time_left(&self) -> Duration {
        match &*self.validity.borrow() {
            Validity::Until(until, _) => until.saturating_duration_since(Instant::now()),
            Validity::Lost => Duration::ZERO,
        }
    }

    /// Says which restore the work is of after all, for those that find the lease held.
    pub fn name_restore(&self, restore_id: &RestoreId) {
        let named = Some(restore_id);
        self.restore_id.send_if_modified(|known| {
            let is_other = known.as_ref() != named;
            if is_other {
                *known = named.cloned();
            }
            is_other
        });
    }

    /// Does a write while the lease is held for certain. It isn't begun when that is no longer so, and
    /// given up when renewals fail meanwhile: then it may have been done, or not.
    ///
    /// # Errors
    ///
    /// When the lease ended before the write did.
    pub async fn during<T>(&self, write: impl Future<Output = T>) -> Result<T, LeaseLost> {
        tokio::select! {
            // The end of the lease is looked at first, so that nothing is begun without it.
            biased;
            lost = self.ends() => Err(lost),
            done = write => Ok(done),
        }
    }

    async fn ends(&self) -> LeaseLost {
        let mut validity = self.validity.clone();
        loop {
            let (until, cause) = match &*validity.borrow_and_update() {
                Validity::Until(until, cause) => (*until, cause.clone()),
                Validity::Lost => return self.lost(None),
            };
            tokio::select! {
                // An error says that the task is gone: then the lease lasts until its time is over.
                Ok(()) = validity.changed() => {}
                () = sleep_until(until) => {
                    return self.lost(Some(cause.unwrap_or_else(keeping::no_answer)));
                }
            }
        }
    }

    fn lost(&self, cause: Option<AwsError>) -> LeaseLost {
        LeaseLost {
            cluster: self.key.cluster.clone(),
            cause,
        }
    }

    /// Gives the lease back, so that whoever waits needn't wait for its end. Best effort.
    pub async fn release(mut self) {
        if let Some(release) = self.release.take() {
            let _ = release.send(());
        }
        let _ = timeout(GIVING_BACK_MAX, &mut self.task).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}
