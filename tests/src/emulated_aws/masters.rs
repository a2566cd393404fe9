//! Masters that start by themselves, as the emulated AWS has them do it, and the record of it.

use etcd_backup_core::ids::{InstanceId, VolumeId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

use super::EmulatedAws;
use crate::fleet::Cluster;

/// What mounts the etcd volumes on a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountedBy {
    /// Looks when the master starts, and no more once it has all.
    EtcdManager,
    /// Looks all the time.
    Protokube,
}

/// Something that a master did.
#[derive(Clone, Debug, Deserialize)]
pub struct MasterEvent {
    /// The call by which it came about, as numbered in the log of calls since the start.
    pub n: u32,
    /// When, by the emulated clock.
    pub at: Timestamp,
    /// What.
    pub event: MasterDid,
    /// Its autoscaling group.
    pub group: String,
    /// The master.
    pub instance: InstanceId,
    /// Its zone.
    pub zone: String,
    /// The volume that it attached.
    pub volume: Option<VolumeId>,
    /// The etcd cluster that the volume is of.
    pub etcd_cluster: Option<String>,
    /// The member that the volume is of.
    pub member: Option<String>,
}

/// What masters found when a group's launches were resumed.
#[derive(Clone, Debug, Deserialize)]
pub struct Resumption {
    /// The call, as numbered in the log of calls since the start.
    pub n: u32,
    /// The group.
    pub group: String,
    /// Everything that anybody would find.
    pub found: Vec<Found>,
}

/// What would be found for one member in one zone.
#[derive(Clone, Debug, Deserialize)]
pub struct Found {
    /// By whom: `etcd-manager` or `protokube`.
    pub by: String,
    /// The cluster.
    pub cluster: String,
    /// The zone.
    pub zone: String,
    /// The etcd cluster.
    pub etcd_cluster: String,
    /// The member.
    pub member: String,
    /// The volumes.
    pub volumes: Vec<VolumeId>,
}

/// What a master may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MasterDid {
    /// Its group launched it.
    Launched,
    /// It attached a volume.
    Attached,
}

/// How often it is looked whether masters attached anything.
const LOOK: Duration = Duration::from_millis(250);
/// In how many looks in a row nothing happened before time passes.
const QUIET_LOOKS: u32 = 4;
/// What restore calls when it looks at the masters, as it does after it has resumed a wave of them.
const LOOK_OF_RESTORE: &str = "DescribeInstances";
/// Longer than it takes until a master that has its volumes counts as started.
const STARTED: Duration = Duration::from_secs(200);

impl EmulatedAws {
    /// From now on the cluster's masters start by themselves, and attach what they find.
    pub async fn start_masters(&self, cluster: &Cluster, mounted_by: MountedBy) {
        let request = json!({
            "cluster": cluster.name(),
            "mounted_by": mounted_by,
            "etcd_clusters": cluster.kops.etcd_clusters,
        });
        self.post::<Value>("masters", &request).await;
    }

    /// What masters did since they were first told to start, in order.
    pub async fn master_events(&self) -> Vec<MasterEvent> {
        #[derive(Deserialize)]
        struct Events {
            events: Vec<MasterEvent>,
        }
        self.get::<Events>("masters").await.events
    }

    /// Everything that anybody would find at this moment.
    pub async fn found(&self) -> Vec<Found> {
        #[derive(Deserialize)]
        struct Now {
            found: Vec<Found>,
        }
        self.get::<Now>("candidates/found").await.found
    }

    /// The autoscaling groups of which any process is suspended.
    pub async fn suspended_groups(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Suspended {
            groups: Vec<String>,
        }
        self.get::<Suspended>("autoscaling/suspended").await.groups
    }

    /// What masters found each time that a group's launches were resumed.
    pub async fn resumptions(&self) -> Vec<Resumption> {
        #[derive(Deserialize)]
        struct Candidates {
            resumed: Vec<Resumption>,
        }
        self.get::<Candidates>("candidates").await.resumed
    }

    /// Has the clock run ahead whenever masters have attached something, so that nobody waits for them
    /// to start. Never returns.
    ///
    /// Masters of one wave come by calls of their own, which a busy machine makes one after the other: time
    /// passes only when restore has looked at them since, as it does when all of them were let come.
    pub async fn let_masters_start_fast(&self) {
        let (mut seen, mut quiet_looks) = (0, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            let events = self.master_events().await;
            let is_quiet = events.len() == seen;
            quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
            seen = events.len();
            if quiet_looks < QUIET_LOOKS {
                continue;
            }
            let mut attached = events.iter();
            let attached = attached.rfind(|event| event.event == MasterDid::Attached);
            let (Some(attached), Some(last)) = (attached, events.last()) else {
                continue;
            };
            let since = self.clock().await.duration_since(attached.at);
            let is_recent = since < STARTED.try_into().expect("minutes");
            if is_recent && self.has_looked_since(last).await {
                self.advance(STARTED).await;
            }
        }
    }

    /// Whether restore began to look at the masters after this.
    async fn has_looked_since(&self, event: &MasterEvent) -> bool {
        let calls = self.calls().await;
        calls
            .iter()
            .any(|call| call.operation == LOOK_OF_RESTORE && call.began_after >= u64::from(event.n))
    }

    /// Forgets what masters did; they go on.
    pub async fn forget_master_events(&self) {
        self.delete("masters").await;
    }
}
