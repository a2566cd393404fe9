//! The table of restores: its items, and how they are written so that no write is lost, doubled, or
//! undone by somebody who is late.
//!
//! One DynamoDB table for all clusters. Partition key `cluster`, sort key `id`:
//!
//! | `cluster` | `id` | item |
//! |---|---|---|
//! | its name | `lease` | who works on the cluster at the moment: `token`, `layout`, and while it is held `holder`, `event`, and `restore_id` once that is known |
//! | its name | `restore/000001` | the cluster's first restore: `token`, `layout`, and `body`, the record as JSON; the next is `restore/000002` |
//! | `*` | a cluster's name | says that the cluster may have records, so that they can be found without knowing its name |
//!
//! Invariants:
//!
//! - Every write carries a token that no other write has, and names as its condition the token that its
//!   writer saw last: whoever was overtaken can't overwrite what came since.
//! - Records are numbered, and a number is written anew only where it is free. So of two invocations
//!   that both believe they may begin a restore, one is refused, even if one of them is so slow that
//!   its lease was taken from it.
//! - A write whose answer was lost, and that was sent again by the SDK, meets its own success as a
//!   failed condition. [`SentWrites`] tells that from another's write.
//! - A cluster is listed under `*` before its first record is written.
//! - No item is deleted, and none expires: a lease that was given back stays, without a holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::aws::AwsError;
use crate::ids::{ClusterName, RestoreId};

/// The layout of items that this program writes; what it reads carries the layout it was written in.
pub const LAYOUT: u32 = 1;

/// What one write leaves in an item, and no other write ever does: `<holder>/<count>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// As it stands in the item.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(token)
    }
}

/// Where an invocation takes the tokens of its writes from.
#[derive(Clone, Debug)]
pub struct Tokens {
    holder: Arc<str>,
}

/// How many tokens were given so far: by the whole process, so that an invocation that makes its
/// [`Tokens`] twice gets none twice.
static TOKENS_GIVEN: AtomicU64 = AtomicU64::new(0);

impl Tokens {
    /// Tokens of one invocation. Its id must differ from that of any other, Lambda's own retries of the
    /// same request among them.
    pub fn new(invocation_id: &str) -> Self {
        Self {
            holder: invocation_id.into(),
        }
    }

    /// The invocation's id.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// A token that was never given before.
    pub fn fresh(&self) -> Token {
        let count = TOKENS_GIVEN.fetch_add(1, Ordering::Relaxed) + 1;
        Token(format!("{}/{count}", self.holder))
    }
}

/// A restore's place among its cluster's restores: the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordNumber(pub u32);

impl RecordNumber {
    /// The first of a cluster.
    pub const FIRST: Self = Self(1);

    /// The next one's.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A record as it stands in the table. What `body` means is not the table's concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Which of the cluster's.
    pub number: RecordNumber,
    /// Of the write that left it so.
    pub token: Token,
    /// The layout of `body`.
    pub layout: u32,
    /// The record, as JSON. DynamoDB takes items of up to 400 KiB.
    pub body: String,
}

/// A cluster's lease as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLease {
    /// Of the write that left it so: it was taken, renewed or given back.
    pub token: Token,
    /// `None` where it was given back.
    pub held: Option<LeaseHolder>,
}

/// Who holds a lease, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// The invocation.
    pub invocation_id: String,
    /// The fingerprint of its event: equal for events that are the same.
    pub event: String,
    /// The restore it works on, once that is known.
    pub restore_id: Option<RestoreId>,
}

/// What became of a conditional write that AWS answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written<Item> {
    /// The condition held: the item is as written.
    Done,
    /// The condition failed. What stands there instead; `None` for nothing. It can be this very write's
    /// own success, or an earlier one's: see [`SentWrites`].
    Refused(Option<Item>),
}

/// Reading and writing the table. Every read is consistent: it shows all writes that were answered before
/// it began.
///
/// Futures are `Send`, because a lease is renewed by a task of its own.
pub trait RestoreTable {
    /// All records of a cluster, newest first.
    fn records(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, AwsError>> + Send;

    /// A cluster's newest record.
    fn newest_record(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> impl Future<Output = Result<Option<StoredRecord>, AwsError>> + Send;

    /// The clusters that may have records, in no particular order.
    fn clusters_with_records(
        &self,
        table: &str,
    ) -> impl Future<Output = Result<Vec<ClusterName>, AwsError>> + Send;

    /// Lists a cluster among those that may have records; nothing is changed where it is listed already.
    fn list_cluster(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Writes a record whole, if what stands under its number carries the token `seen`, or, where that is
    /// `None`, if nothing does.
    fn write_record(
        &self,
        table: &str,
        cluster: &ClusterName,
        record: &StoredRecord,
        seen: Option<&Token>,
    ) -> impl Future<Output = Result<Written<StoredRecord>, AwsError>> + Send;

    /// A cluster's lease; `None` where nobody ever took it.
    fn lease(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> impl Future<Output = Result<Option<StoredLease>, AwsError>> + Send;

    /// Takes, renews or gives back a cluster's lease: writes it whole, if what stands there carries the
    /// token `seen`, or, where that is `None`, if nothing does.
    fn write_lease(
        &self,
        table: &str,
        cluster: &ClusterName,
        lease: &StoredLease,
        seen: Option<&Token>,
    ) -> impl Future<Output = Result<Written<StoredLease>, AwsError>> + Send;
}

/// The writes of one item that were sent since the last one known to have been done. Each may have been
/// done, whatever answer its caller got.
///
/// `About` is what must be known of a write once it turns out to have been done.
#[derive(Clone, Debug)]
pub struct SentWrites<About>(Vec<(Token, About)>);

impl<About> Default for SentWrites<About> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<About> SentWrites<About> {
    /// Notes a write; call it before the write is sent.
    pub fn note(&mut self, token: Token, about: About) {
        self.0.push((token, about));
    }

    /// A token was seen in the item, by a read or a failed condition: which of these writes left it
    /// there. Those sent before it can't be done any more, so all up to it are forgotten; later ones may
    /// still arrive. `None` where another's write left it.
    pub fn landed(&mut self, seen: &Token) -> Option<About> {
        let at = self.0.iter().position(|(token, _)| token == seen)?;
        self.0.drain(..=at).next_back().map(|(_, about)| about)
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_given_twice() {
        let tokens = Tokens::new("8476a536.1");
        let (copy, again) = (tokens.clone(), Tokens::new("8476a536.1"));
        let given = [tokens.fresh(), copy.fresh(), again.fresh(), tokens.fresh()];
        for (nth, token) in given.iter().enumerate() {
            assert!(token.as_str().starts_with("8476a536.1/"), "{token:?}");
            assert!(!given[..nth].contains(token), "{token:?}");
        }
    }

    #[test]
    fn own_writes_are_told_from_anothers_and_later_ones_stay_open() {
        let tokens = Tokens::new("one");
        let (first, second, third) = (tokens.fresh(), tokens.fresh(), tokens.fresh());
        let mut sent = SentWrites::default();
        for (token, about) in [(&first, 1), (&second, 2), (&third, 3)] {
            sent.note(token.clone(), about);
        }
        assert_eq!(sent.landed(&Tokens::new("other").fresh()), None);
        assert_eq!(sent.landed(&second), Some(2));
        // The write before it was conditional on what came before both.
        assert_eq!(sent.landed(&first), None);
        assert_eq!(sent.landed(&third), Some(3));
        assert!(sent.is_empty());
    }
}
