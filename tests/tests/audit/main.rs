//! audit, the real binary over real HTTP: a clean fleet is ok, each planted fault is found and
//! nothing else, and what can't be read is never called healthy.

mod asking;
mod losses;
mod planted;
mod runs;
mod strangers;

use e2e::{BackedUpFleet, EmulatedAws, Function};
use etcd_backup_core::ids::{SnapshotId, VolumeId};
use serde_json::{Value, json};

const NOTHING: [&str; 0] = [];

async fn audit(fleet: &BackedUpFleet) -> Value {
    let audit = fleet.function("audit").await;
    invoke(fleet, &audit).await
}

async fn invoke(fleet: &BackedUpFleet, audit: &Function) -> Value {
    let answer = audit.invoke(json!({"now": fleet.now().await})).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", audit.logs()))
}

/// The findings, a line each: severity, kind, cluster and member.
fn findings(answer: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let fields = ["severity", "kind", "cluster", "etcd_cluster", "member"];
        let present: Vec<&str> = fields
            .iter()
            .filter_map(|field| finding[*field].as_str())
            .collect();
        present.join(" ")
    };
    answer["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(line)
        .collect()
}

/// The newest snapshot of a volume.
async fn newest_snapshot(aws: &EmulatedAws, volume: &VolumeId) -> SnapshotId {
    aws.snapshots_of(volume).await.remove(0)
}

async fn delete_snapshot(aws: &EmulatedAws, snapshot: &SnapshotId) {
    aws.ec2()
        .delete_snapshot()
        .snapshot_id(snapshot.as_str())
        .send()
        .await
        .unwrap();
}
