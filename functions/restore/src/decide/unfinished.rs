//! What a refusal says about the restore that isn't over: that another invocation works on it, and which
//! launches it keeps suspended.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_table::LeaseHolder;

use super::list::list;
use super::{intent, masters};
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;

/// The refusal where another invocation has the cluster's lease, for the same event or for another one.
pub fn lease_taken(cluster: &ClusterName, holder: LeaseHolder, is_same_event: bool) -> Diagnostic {
    let what = holder
        .restore_id
        .map_or("another restore".to_owned(), |id| format!("restore {id}"));
    let status = format!("{{\"action\":\"status\",\"cluster\":\"{cluster}\"}} shows how far it is");
    let message = if is_same_event {
        format!(
            "another invocation of this event is still at work on {what} of {cluster}: {status}; send the \
             event again"
        )
    } else {
        format!(
            "an invocation of another event is at work on {what} of {cluster} at this moment: {status}; \
             nothing was changed"
        )
    };
    Diagnostic::new(ErrorType::RestoreInProgress, message)
}

/// Adds which launches are suspended by it: nobody should have to wonder why no master comes back.
pub fn with_suspended_groups(
    refusal: Diagnostic,
    records: &Records,
    inventory: &Inventory,
) -> Diagnostic {
    let record = intent::unfinished(records).map(|known| &known.record);
    let suspended = masters::suspended_by_restore(record, &inventory.control_plane);
    if suspended.is_empty() {
        return refusal;
    }
    let by = record.map_or("a restore".to_owned(), |record| {
        format!("restore {}", record.id)
    });
    refusal.with(&format!(
        "launches of {} are suspended by {by}, which isn't over",
        list(suspended)
    ))
}

/// The same where groups can't be looked at: by what the record names.
pub fn with_recorded_groups(refusal: Diagnostic, records: &Records) -> Diagnostic {
    let record = intent::unfinished(records).map(|known| &known.record);
    match record {
        Some(record) if !record.suspended_groups.is_empty() => refusal.with(&format!(
            "launches of {} may be suspended by restore {}, which isn't over",
            list(&record.suspended_groups),
            record.id
        )),
        _ => refusal,
    }
}
