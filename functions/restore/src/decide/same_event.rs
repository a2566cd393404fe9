//! When events are the same: when their options are, defaults filled in.
//!
//! Invariants: an event is the same as itself, whatever is there by now. One that names every etcd cluster that
//! is found is the same as one that names none, as that means all of them.

use std::collections::BTreeSet;

use etcd_backup_core::ids::EtcdClusterName;
use etcd_backup_core::restore_record::RestoreRecord;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::collect::inventory::Inventory;
use crate::event::Request;

/// Whether an event is the same as the one that began a restore.
pub fn is_of(request: &Request, record: &RestoreRecord, inventory: &Inventory) -> bool {
    let asked = request.options();
    let found = found(record, inventory);
    record.event == asked || filled_in(record.event.clone(), &found) == filled_in(asked, &found)
}

/// A short text that is equal for events about the same restore that are the same, and ask for the same action.
pub fn fingerprint(request: &Request, record: &RestoreRecord, inventory: &Inventory) -> String {
    let options = filled_in(request.options(), &found(record, inventory));
    let input = format!("{} {options}", request.direction().name());
    hex::encode(Sha256::digest(input))
}

/// The etcd clusters that are found; in the middle of an exchange the record knows of those that are out of
/// sight.
fn found(record: &RestoreRecord, inventory: &Inventory) -> BTreeSet<EtcdClusterName> {
    let mut found = inventory.cluster.etcd_clusters();
    found.extend(record.etcd_clusters().cloned());
    found
}

/// An event's options, with the one default that depends on what is there.
fn filled_in(mut options: Value, found: &BTreeSet<EtcdClusterName>) -> Value {
    if let Some(fields) = options.as_object_mut() {
        fields
            .entry("etcd_clusters")
            .or_insert_with(|| json!(found));
    }
    options
}
