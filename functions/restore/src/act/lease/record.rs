//! Writing a restore's record while its cluster's lease is held.

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::restore_table::{
    RecordNumber, RestoreTable, SentWrites, StoredRecord, Token, Written,
};
use thiserror::Error;

use super::{Lease, LeaseKey, LeaseLost};

/// A record's place in the table, and what this invocation knows of what stands there.
#[derive(Debug)]
pub struct RecordSlot {
    number: RecordNumber,
    seen: Option<Token>,
    sent: SentWrites<()>,
}

impl RecordSlot {
    /// The place of a record as it was read.
    pub fn of(record: &StoredRecord) -> Self {
        Self {
            seen: Some(record.token.clone()),
            ..Self::free(record.number)
        }
    }

    /// The place of a record that isn't there yet: the one after the cluster's newest.
    pub fn free(number: RecordNumber) -> Self {
        Self {
            number,
            seen: None,
            sent: SentWrites::default(),
        }
    }

    /// Which of the cluster's records it is.
    pub fn number(&self) -> RecordNumber {
        self.number
    }
}

/// A record that couldn't be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// AWS refused, or gave no answer: it may have been written then.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The lease ended meanwhile, or another invocation has written the record, or one of the same number.
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
}

impl From<RecordError> for Diagnostic {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Aws(error) => error.into(),
            RecordError::LeaseLost(lost) => lost.into(),
        }
    }
}

impl Lease {
    /// Writes a record: `body`, in the record's `layout`.
    ///
    /// # Errors
    ///
    /// See [`RecordError`]. The slot knows of writes whose answer was lost: writing again with it is right.
    pub async fn write_record(
        &self,
        aws: &impl RestoreTable,
        slot: &mut RecordSlot,
        layout: u32,
        body: &str,
    ) -> Result<(), RecordError> {
        let LeaseKey { table, cluster } = &self.key;
        // Whoever wrote an earlier one has listed the cluster.
        if slot.seen.is_none() && slot.number == RecordNumber::FIRST {
            self.during(aws.list_cluster(table, cluster)).await??;
        }
        loop {
            let token = self.tokens.fresh();
            slot.sent.note(token.clone(), ());
            let record = StoredRecord {
                number: slot.number,
                token,
                layout,
                body: body.to_owned(),
            };
            let write = aws.write_record(table, cluster, &record, slot.seen.as_ref());
            let found = match self.during(write).await?? {
                Written::Done => Some(record.token.clone()),
                Written::Refused(found) => found.map(|found| found.token),
            };
            match found {
                Some(token) if slot.sent.landed(&token).is_some() => {
                    let is_this = token == record.token;
                    slot.seen = Some(token);
                    if is_this {
                        return Ok(());
                    }
                    // The token is that of an earlier write whose answer was lost: this write's condition was
                    // out of date.
                }
                _ => return Err(self.lost(None).into()),
            }
        }
    }
}
