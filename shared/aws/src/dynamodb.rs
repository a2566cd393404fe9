//! DynamoDB: the table of restores.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use etcd_backup_core::aws::AwsError;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_table::{
    LAYOUT, LeaseHolder, RecordNumber, RestoreTable, StoredLease, StoredRecord, Token, Written,
};

use crate::error::{aws_error, incomplete};
use crate::{Aws, attempts_within, retries};

/// DynamoDB answers within milliseconds, and a lease can't wait for longer: some five seconds in all are
/// waited out.
const ATTEMPTS_MAX: u32 = 12;
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

type Item = HashMap<String, AttributeValue>;

const CLUSTER: &str = "cluster";
const ID: &str = "id";
const TOKEN: &str = "token";
const LAYOUT_OF_ITEM: &str = "layout";

const BODY: &str = "body";

const HOLDER: &str = "holder";
const EVENT: &str = "event";
const RESTORE_ID: &str = "restore_id";

const LEASE: &str = "lease";
/// Under which the clusters are listed that may have records; no cluster has such a name.
const ALL_CLUSTERS: &str = "*";
const RECORD_PREFIX: &str = "restore/";
/// So many digits that numbers sort as their texts do.
const NUMBER_DIGITS: usize = 6;

const READ_ITEM: &str = "dynamodb:GetItem";
const READ_PARTITION: &str = "dynamodb:Query";
const WRITE_ITEM: &str = "dynamodb:PutItem";

pub(crate) fn config(config: &SdkConfig) -> aws_sdk_dynamodb::Config {
    aws_sdk_dynamodb::config::Builder::from(config)
        .retry_config(retries(ATTEMPTS_MAX, BACKOFF_FIRST, BACKOFF_MAX))
        .timeout_config(attempts_within(ATTEMPT_TIMEOUT))
        .build()
}

impl RestoreTable for Aws {
    async fn records(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> Result<Vec<StoredRecord>, AwsError> {
        let mut items = self
            .records_newest_first(table, cluster)
            .into_paginator()
            .items()
            .send();
        let mut records = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(aws_error(READ_PARTITION))?;
            records.push(stored_record(&item).ok_or_else(|| incomplete(READ_PARTITION))?);
        }
        Ok(records)
    }

    async fn newest_record(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> Result<Option<StoredRecord>, AwsError> {
        let request = self.records_newest_first(table, cluster).limit(1);
        let answer = request.send().await.map_err(aws_error(READ_PARTITION))?;
        let record = |item| stored_record(item).ok_or_else(|| incomplete(READ_PARTITION));
        answer.items().first().map(record).transpose()
    }

    async fn clusters_with_records(&self, table: &str) -> Result<Vec<ClusterName>, AwsError> {
        let mut items = self
            .dynamodb()
            .query()
            .table_name(table)
            .key_condition_expression("#cluster = :all")
            .expression_attribute_names("#cluster", CLUSTER)
            .expression_attribute_values(":all", text(ALL_CLUSTERS))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut clusters = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(aws_error(READ_PARTITION))?;
            let name = string(&item, ID).ok_or_else(|| incomplete(READ_PARTITION))?;
            clusters.push(name.as_str().into());
        }
        Ok(clusters)
    }

    async fn list_cluster(&self, table: &str, cluster: &ClusterName) -> Result<(), AwsError> {
        let answer = self
            .dynamodb()
            .put_item()
            .table_name(table)
            .item(CLUSTER, text(ALL_CLUSTERS))
            .item(ID, text(cluster.as_str()))
            .item(LAYOUT_OF_ITEM, number(LAYOUT))
            .send()
            .await;
        answer.map(drop).map_err(aws_error(WRITE_ITEM))
    }

    async fn write_record(
        &self,
        table: &str,
        cluster: &ClusterName,
        record: &StoredRecord,
        seen: Option<&Token>,
    ) -> Result<Written<StoredRecord>, AwsError> {
        let item = record_item(cluster, record);
        self.write(table, item, seen, stored_record).await
    }

    async fn lease(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> Result<Option<StoredLease>, AwsError> {
        let answer = self
            .dynamodb()
            .get_item()
            .table_name(table)
            .key(CLUSTER, text(cluster.as_str()))
            .key(ID, text(LEASE))
            .consistent_read(true)
            .send()
            .await
            .map_err(aws_error(READ_ITEM))?;
        let lease = |item| stored_lease(item).ok_or_else(|| incomplete(READ_ITEM));
        answer.item().map(lease).transpose()
    }

    async fn write_lease(
        &self,
        table: &str,
        cluster: &ClusterName,
        lease: &StoredLease,
        seen: Option<&Token>,
    ) -> Result<Written<StoredLease>, AwsError> {
        let item = lease_item(cluster, lease);
        self.write(table, item, seen, stored_lease).await
    }
}

impl Aws {
    fn records_newest_first(
        &self,
        table: &str,
        cluster: &ClusterName,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        self.dynamodb()
            .query()
            .table_name(table)
            .key_condition_expression("#cluster = :cluster AND begins_with(#id, :prefix)")
            .expression_attribute_names("#cluster", CLUSTER)
            .expression_attribute_names("#id", ID)
            .expression_attribute_values(":cluster", text(cluster.as_str()))
            .expression_attribute_values(":prefix", text(RECORD_PREFIX))
            .scan_index_forward(false)
            .consistent_read(true)
    }

    /// Puts an item if what stands in its place carries the token `seen`, or, without one, if nothing
    /// does.
    async fn write<Stored>(
        &self,
        table: &str,
        item: Item,
        seen: Option<&Token>,
        stored: impl FnOnce(&Item) -> Option<Stored>,
    ) -> Result<Written<Stored>, AwsError> {
        let request = self
            .dynamodb()
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            Some(token) => request
                .condition_expression("#token = :seen")
                .expression_attribute_names("#token", TOKEN)
                .expression_attribute_values(":seen", text(token.as_str())),
            None => request
                .condition_expression("attribute_not_exists(#id)")
                .expression_attribute_names("#id", ID),
        };
        let Err(error) = request.send().await else {
            return Ok(Written::Done);
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                let stored = |item| stored(item).ok_or_else(|| incomplete(WRITE_ITEM));
                failed.item().map(stored).transpose().map(Written::Refused)
            }
            _ => Err(aws_error(WRITE_ITEM)(error)),
        }
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u32) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn new_item(cluster: &ClusterName, id: &str, token: &Token, layout: u32) -> Item {
    let attributes = [
        (CLUSTER, text(cluster.as_str())),
        (ID, text(id)),
        (TOKEN, text(token.as_str())),
        (LAYOUT_OF_ITEM, number(layout)),
    ];
    attributes
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn record_item(cluster: &ClusterName, record: &StoredRecord) -> Item {
    let id = format!("{RECORD_PREFIX}{:0NUMBER_DIGITS$}", record.number.0);
    let mut item = new_item(cluster, &id, &record.token, record.layout);
    item.insert(BODY.to_owned(), text(&record.body));
    item
}

fn lease_item(cluster: &ClusterName, lease: &StoredLease) -> Item {
    let mut item = new_item(cluster, LEASE, &lease.token, LAYOUT);
    if let Some(holder) = &lease.held {
        item.insert(HOLDER.to_owned(), text(&holder.invocation_id));
        item.insert(EVENT.to_owned(), text(&holder.event));
        let restore_id = holder.restore_id.as_ref().map(|id| text(id.as_str()));
        item.extend(restore_id.map(|id| (RESTORE_ID.to_owned(), id)));
    }
    item
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a String> {
    item.get(name)?.as_s().ok()
}

fn token(item: &Item) -> Option<Token> {
    Some(string(item, TOKEN)?.clone().into())
}

fn stored_record(item: &Item) -> Option<StoredRecord> {
    let number = string(item, ID)?.strip_prefix(RECORD_PREFIX)?;
    Some(StoredRecord {
        number: RecordNumber(number.parse().ok()?),
        token: token(item)?,
        layout: item.get(LAYOUT_OF_ITEM)?.as_n().ok()?.parse().ok()?,
        body: string(item, BODY)?.clone(),
    })
}

fn stored_lease(item: &Item) -> Option<StoredLease> {
    let held = match string(item, HOLDER) {
        Some(holder) => Some(LeaseHolder {
            invocation_id: holder.clone(),
            event: string(item, EVENT)?.clone(),
            restore_id: string(item, RESTORE_ID).map(|id| id.as_str().into()),
        }),
        None => None,
    };
    Some(StoredLease {
        token: token(item)?,
        held,
    })
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::restore_table::Tokens;

    use super::*;

    #[test]
    fn a_record_survives_the_round_trip_and_its_number_sorts_as_its_text() {
        let cluster = ClusterName::from("k8s.mycompany.tld");
        let mut ids = Vec::new();
        for number in [1, 9, 10, 99_999, 100_000] {
            let record = StoredRecord {
                number: RecordNumber(number),
                token: Tokens::new("8476a536.1").fresh(),
                layout: 7,
                body: r#"{"restore_id":"r-1f2e3d4c5b6a"}"#.to_owned(),
            };
            let item = record_item(&cluster, &record);
            assert_eq!(stored_record(&item), Some(record));
            ids.push(string(&item, ID).unwrap().clone());
        }
        assert_eq!(ids[0], "restore/000001");
        assert!(ids.is_sorted(), "{ids:?}");
    }

    #[test]
    fn a_lease_survives_the_round_trip_held_or_not() {
        let cluster = ClusterName::from("k8s.mycompany.tld");
        let holder = |restore_id: Option<&str>| LeaseHolder {
            invocation_id: "8476a536.1".to_owned(),
            event: "masters=leave".to_owned(),
            restore_id: restore_id.map(Into::into),
        };
        for held in [
            None,
            Some(holder(None)),
            Some(holder(Some("r-1f2e3d4c5b6a"))),
        ] {
            let lease = StoredLease {
                token: Tokens::new("8476a536.1").fresh(),
                held,
            };
            let item = lease_item(&cluster, &lease);
            assert_eq!(stored_lease(&item), Some(lease));
            assert!(stored_record(&item).is_none());
        }
    }
}
