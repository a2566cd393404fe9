//! What the tests of verify begin with: a cluster whose etcd volumes hold what real members left, backed up
//! by the real converge and the emulated Lifecycle Manager.

use std::collections::BTreeMap;
use std::path::Path;

use etcd_backup_core::ids::{MemberKey, SnapshotId};
use serde_json::{Value, json};

use crate::backed_up::{back_up_once, next_morning, next_noon};
use crate::emulated_aws::EmulatedAws;
use crate::etcd_images::EtcdImages;
use crate::fleet::{Cluster, Kops};
use crate::lambda::{Function, LambdaError};

/// The cluster of most tests.
pub const CLUSTER: &str = "k8s.mycompany.tld";
const ZONES: [&str; 6] = ["a", "b", "c", "a", "b", "c"];

/// A cluster that was backed up.
#[derive(Debug)]
pub struct VerifyBed {
    /// The AWS.
    pub aws: EmulatedAws,
    /// The cluster.
    pub cluster: Cluster,
}

impl VerifyBed {
    /// A cluster of the members that a set has, with its volumes, backed up once.
    pub async fn of(set: &EtcdImages) -> Self {
        Self::of_several(&[("main", set)]).await
    }

    /// The same with several etcd clusters; the first says which members there are.
    ///
    /// # Panics
    ///
    /// When converge fails.
    pub async fn of_several(sets: &[(&str, &EtcdImages)]) -> Self {
        let zone = |place: usize| format!("eu-west-2{}", ZONES[place]);
        let members: Vec<(String, String)> = sets[0]
            .1
            .images
            .keys()
            .enumerate()
            .map(|(place, member)| (member.clone(), zone(place)))
            .collect();
        let members: Vec<(&str, &str)> = members
            .iter()
            .map(|(member, zone)| (member.as_str(), zone.as_str()))
            .collect();
        let names: Vec<&str> = sets.iter().map(|(name, _)| *name).collect();
        let aws = EmulatedAws::start().await;
        aws.set_clock(next_noon(aws.clock().await)).await;
        let kops = Kops::new(CLUSTER).members(&members).etcd_clusters(&names);
        let cluster = kops.seed(&aws).await;
        let bed = Self { aws, cluster };
        for (name, set) in sets {
            for (member, image) in &set.images {
                bed.give(&format!("{name}/{member}"), image).await;
            }
        }
        back_up_once(&bed.aws).await;
        bed.aws.clear_calls().await;
        bed
    }

    /// Snapshots of a member's volume hold this from now on.
    pub async fn give(&self, member: &str, image: &Path) {
        let changes = json!({"image": image});
        self.aws
            .set_volume(self.cluster.volume(member), changes)
            .await;
    }

    /// The newest snapshot of a member.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn newest(&self, member: &str) -> SnapshotId {
        let snapshots = self.aws.snapshots_of(self.cluster.volume(member)).await;
        snapshots.into_iter().next().expect("a snapshot")
    }

    /// The newest snapshots of all members, as `snapshots` of an event.
    pub async fn newest_of_all(&self) -> BTreeMap<MemberKey, SnapshotId> {
        let mut newest = BTreeMap::new();
        for key in self.cluster.volumes.keys() {
            newest.insert(key.clone(), self.newest(&key.to_string()).await);
        }
        newest
    }

    /// The tags of a snapshot.
    ///
    /// # Panics
    ///
    /// When it isn't there.
    pub async fn tags(&self, snapshot: &SnapshotId) -> BTreeMap<String, String> {
        let request = self
            .aws
            .ec2()
            .describe_snapshots()
            .snapshot_ids(snapshot.as_str());
        let answer = request.send().await.expect("DescribeSnapshots");
        let snapshot = answer.snapshots().first().expect("the snapshot").clone();
        let tags = snapshot.tags.unwrap_or_default().into_iter();
        tags.filter_map(|tag| Some((tag.key?, tag.value?)))
            .collect()
    }

    /// This project's tags of the newest snapshot of a member, without the prefix.
    pub async fn verdict_tags(&self, member: &str) -> BTreeMap<String, String> {
        let tags = self.tags(&self.newest(member).await).await.into_iter();
        tags.filter_map(|(key, value)| Some((key.strip_prefix("etcd-backup/")?.to_owned(), value)))
            .collect()
    }

    /// Lets the next run be over.
    pub async fn next_run(&self) {
        self.aws
            .set_clock(next_morning(self.aws.clock().await))
            .await;
    }

    /// The function.
    pub async fn verify(&self) -> Function {
        self.verify_with(&[]).await
    }

    /// The function with these variables.
    pub async fn verify_with(&self, variables: &[(&str, &str)]) -> Function {
        Function::start(&self.aws, "verify", variables).await
    }
}

/// What EventBridge sends when a snapshot was completed.
pub fn completed(snapshot: &SnapshotId) -> Value {
    json!({"source": "aws.ec2", "detail-type": "EBS Snapshot Notification",
           "detail": {"event": "createSnapshot", "result": "succeeded", "cause": "",
                      "snapshot_id": format!("arn:aws:ec2::eu-west-2:snapshot/{snapshot}"),
                      "source": "arn:aws:ec2::eu-west-2:volume/vol-0"}})
}

/// An answer, or a panic with all that the function said.
///
/// # Panics
///
/// When it is an error.
pub fn answered(verify: &Function, answer: Result<Value, LambdaError>) -> Value {
    answer.unwrap_or_else(|error| panic!("{error}\n{}", verify.logs()))
}
