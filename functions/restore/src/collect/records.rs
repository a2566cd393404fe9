//! The cluster's restores, as their records tell.

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::generation::Exchange;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_record::RestoreRecord;
use etcd_backup_core::restore_table::{RecordNumber, RestoreTable, StoredRecord};

use crate::event::Request;

/// A record, and how it stands in the table.
#[derive(Clone, Debug)]
pub struct KnownRecord {
    /// As it stands in the table.
    pub stored: StoredRecord,
    /// What it says.
    pub record: RestoreRecord,
}

/// All records of a cluster, newest first.
#[derive(Clone, Debug, Default)]
pub struct Records(pub Vec<KnownRecord>);

impl Records {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// When the table can't be read, or holds what this program doesn't understand: nothing may be
    /// decided then.
    pub async fn read(
        aws: &impl RestoreTable,
        table: &str,
        cluster: &ClusterName,
    ) -> Result<Self, Diagnostic> {
        let stored = aws
            .records(table, cluster)
            .await
            .map_err(|error| unreachable_table(table, error))?;
        let known = stored.into_iter().map(|stored| {
            let record = RestoreRecord::read(&stored)
                .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))?;
            Ok(KnownRecord { stored, record })
        });
        known.collect::<Result<_, Diagnostic>>().map(Self)
    }

    /// The records alone, newest first.
    pub fn all(&self) -> impl Iterator<Item = &RestoreRecord> {
        self.0.iter().map(|known| &known.record)
    }

    /// The records whose volumes an event may be about: the newest, the one that it names, and what is
    /// unfinished. The volumes of others are found by their tags, or play no part.
    pub fn in_question<'a>(
        &'a self,
        request: &'a Request,
    ) -> impl Iterator<Item = &'a RestoreRecord> {
        let newest = self.all().next().map(|record| &record.id);
        self.all().filter(move |record| {
            let is_named = request.restore_id.as_ref() == Some(&record.id);
            newest == Some(&record.id) || is_named || record.is_unfinished()
        })
    }

    /// Whether nobody has written any of them since these others were read.
    pub fn are_as(&self, others: &Self) -> bool {
        let written = |known: &KnownRecord| (known.stored.number, known.stored.token.clone());
        self.0.iter().map(written).eq(others.0.iter().map(written))
    }

    /// The exchanges that they record, each restore's in their order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.all().flat_map(RestoreRecord::exchanges).collect()
    }

    /// The number that the next record takes.
    pub fn next_number(&self) -> RecordNumber {
        self.0
            .first()
            .map_or(RecordNumber::FIRST, |newest| newest.stored.number.next())
    }
}

/// A table that can't be reached: nothing is begun without it.
pub fn unreachable_table(table: &str, error: AwsError) -> Diagnostic {
    Diagnostic::from(error).with(&format!(
        "without the table of restores, {table}, nothing is begun and nothing was changed"
    ))
}
