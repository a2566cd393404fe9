//! restore, the real binary over real HTTP: masters find exactly the restored volumes, nobody else's
//! are touched, and the same event never makes a second set.

mod at_once;
mod exchange;
mod faults;
mod made;
mod masters;
mod plan;
mod refusals;
mod same_event;
mod shapes;
mod start_order;
mod tag_removal;
mod undo;
mod unfinished;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::candidates::volumes_where;
use e2e::restore_bed::CLUSTER;
use e2e::restores::{answered_volumes, restore_function, suspended_groups};
use e2e::{Actor, Fault, InvocationOptions, Kops, RestoreBed};
use etcd_backup_core::ids::VolumeId;
use serde_json::{Map, Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// A list of strings in an answer.
fn strings(list: &Value) -> Vec<String> {
    let list = list
        .as_array()
        .unwrap_or_else(|| panic!("{list} is no list"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    list.iter().filter_map(text).collect()
}

fn replace() -> Value {
    json!({"masters": "replace"})
}

/// How often the lease was looked at since calls were cleared last: who waits for it looks twice a second.
async fn looks_at_lease(bed: &RestoreBed) -> usize {
    let calls = bed.aws.calls().await;
    let is_look = |call: &&e2e::Call| call.operation == "GetItem" && call.attempt == 1;
    let looks = calls.iter().filter(is_look);
    looks.count()
}

/// An event's field, and what its text in an answer holds.
fn assert_says(value: &Value, expected: &[&str]) {
    let text = value.to_string();
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}
