//! Keeping a lease: until when it is held, and the task that renews it.

use std::time::Duration;

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::ids::RestoreId;
use etcd_backup_core::restore_table::{
    LeaseHolder, RestoreTable, SentWrites, StoredLease, Token, Tokens, Written,
};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{ENDS_EARLY, LASTS, LeaseKey, RENEWED_EVERY, Validity};

/// A renewal without an answer is sent again after this; the first one may still be done.
const RENEWAL_MAX: Duration = Duration::from_secs(3);
/// From a renewal that failed to the next.
const RETRIED_AFTER: Duration = Duration::from_millis(500);
const RENEWAL: &str = "dynamodb:PutItem";

/// What a holder knows of its lease.
#[derive(Debug)]
pub(super) struct Keeping {
    /// The token that its last write left in the item, and when that was sent.
    seen: Token,
    sent_at: Instant,
    sent: SentWrites<Instant>,
}

impl Keeping {
    /// A lease taken by a write with this token.
    pub(super) fn new(token: Token, sent_at: Instant) -> Self {
        Self {
            seen: token,
            sent_at,
            sent: SentWrites::default(),
        }
    }

    /// Until when the lease is held for certain.
    pub(super) fn until(&self) -> Instant {
        self.sent_at + LASTS - ENDS_EARLY
    }

    fn sends(&mut self, token: &Token, at: Instant) {
        self.sent.note(token.clone(), at);
    }

    /// The item carries this token. `false` when that is another invocation's.
    fn sees(&mut self, token: &Token) -> bool {
        let Some(sent_at) = self.sent.landed(token) else {
            return *token == self.seen;
        };
        (self.seen, self.sent_at) = (token.clone(), sent_at);
        true
    }
}

/// The task that renews a lease, and gives it back in the end.
pub(super) struct Renewing<Table> {
    pub(super) aws: Table,
    pub(super) key: LeaseKey,
    pub(super) tokens: Tokens,
    pub(super) holder: LeaseHolder,
    pub(super) keeping: Keeping,
    pub(super) validity: watch::Sender<Validity>,
    pub(super) restore_ids: watch::Receiver<Option<RestoreId>>,
}

impl<Table: RestoreTable> Renewing<Table> {
    pub(super) async fn run(mut self, mut released: oneshot::Receiver<()>) {
        let mut next = self.keeping.sent_at + RENEWED_EVERY;
        loop {
            tokio::select! {
                _ = &mut released => return self.give_back().await,
                () = sleep_until(next) => {}
                Ok(()) = self.restore_ids.changed() => {}
            }
            self.holder.restore_id = self.restore_ids.borrow_and_update().clone();
            let lease = self.next_write(Some(self.holder.clone()));
            let written = tokio::select! {
                _ = &mut released => return self.give_back().await,
                written = timeout(RENEWAL_MAX, self.send(&lease)) => written,
            };
            let cause = match written.unwrap_or_else(|_| Err(no_answer())) {
                Ok(written) if !self.is_ours(&written, &lease.token) => {
                    self.validity.send_replace(Validity::Lost);
                    return;
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            next = match cause {
                Some(_) => Instant::now() + RETRIED_AFTER,
                None => self.keeping.sent_at + RENEWED_EVERY,
            };
            let validity = Validity::Until(self.keeping.until(), cause);
            self.validity.send_replace(validity);
        }
    }

    fn next_write(&mut self, held: Option<LeaseHolder>) -> StoredLease {
        let token = self.tokens.fresh();
        self.keeping.sends(&token, Instant::now());
        StoredLease { token, held }
    }

    async fn send(&self, lease: &StoredLease) -> Result<Written<StoredLease>, AwsError> {
        let LeaseKey { table, cluster } = &self.key;
        let seen = Some(&self.keeping.seen);
        self.aws.write_lease(table, cluster, lease, seen).await
    }

    /// Takes a write's answer in; `false` when another invocation has written since.
    fn is_ours(&mut self, written: &Written<StoredLease>, token: &Token) -> bool {
        match written {
            Written::Done => self.keeping.sees(token),
            Written::Refused(Some(found)) => self.keeping.sees(&found.token),
            // The item is gone: somebody has emptied the table.
            Written::Refused(None) => false,
        }
    }

    async fn give_back(mut self) {
        loop {
            let lease = self.next_write(None);
            let failure = match self.send(&lease).await {
                Ok(Written::Done) => return,
                // A renewal that was under way came first, so that this write's condition was out of date.
                Ok(written) if self.is_ours(&written, &lease.token) => match written {
                    Written::Refused(Some(found)) if found.held.is_some() => continue,
                    _ => return,
                },
                Ok(_) => "another invocation has taken it over".to_owned(),
                Err(error) => error.to_string(),
            };
            let cluster = self.key.cluster.as_str();
            tracing::warn!(cluster, "the lease could not be given back: {failure}");
            return;
        }
    }
}

/// A renewal that AWS has not answered in time.
pub(super) fn no_answer() -> AwsError {
    AwsError {
        operation: RENEWAL,
        code: None,
        message: format!("none within {} seconds", RENEWAL_MAX.as_secs()),
        request_id: None,
        certainly_refused: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_counts_from_before_the_renewal_that_is_known_to_be_done() {
        let (tokens, start) = (Tokens::new("ours"), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut keeping = Keeping::new(tokens.fresh(), start);
        assert_eq!(keeping.until(), after(8));

        let (lost, answered) = (tokens.fresh(), tokens.fresh());
        keeping.sends(&lost, after(2));
        assert_eq!(keeping.until(), after(8), "nothing is known of it");
        keeping.sends(&answered, after(5));
        assert!(keeping.sees(&lost), "the condition failed by its success");
        assert_eq!(
            keeping.until(),
            after(10),
            "from when the lost one was sent"
        );
        assert!(keeping.sees(&answered));
        assert_eq!(keeping.until(), after(13));
    }

    #[test]
    fn a_lease_that_was_taken_is_told_from_renewals_that_have_not_arrived() {
        let tokens = Tokens::new("ours");
        let taken = tokens.fresh();
        let mut keeping = Keeping::new(taken.clone(), Instant::now());
        keeping.sends(&tokens.fresh(), Instant::now());
        assert!(keeping.sees(&taken));
        assert!(!keeping.sees(&Tokens::new("theirs").fresh()));
    }
}
