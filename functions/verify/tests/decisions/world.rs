//! Snapshots of an etcd cluster as verify finds them, and members as it reads them.

use std::ops::Range;

use etcd_backup_core::fleet::{Cluster, Fleet};
use etcd_backup_core::ids::{ClusterName, MemberKey, SnapshotId};
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_reader::ReadError;
use etcd_reader::files::{Entry, Files};
use etcd_reader::member::{Member, MemberContext, read};

pub const CLUSTER: &str = "k8s.mycompany.tld";
pub const RUN: &str = "2026-11-22T06:00:00Z";

pub fn settings() -> Settings {
    Settings::from_variables(&|_| None).unwrap()
}

pub fn name() -> ClusterName {
    CLUSTER.into()
}

pub fn key(member: &str) -> MemberKey {
    format!("main/{member}").parse().unwrap()
}

pub fn id(member: &str) -> SnapshotId {
    format!("snap-{member}").as_str().into()
}

/// A snapshot of `a`, `b` or `c` that DLM made.
pub fn snapshot(member: &str, started: &str) -> Snapshot {
    let etcd_tag = format!("{member}/a,b,c");
    let tags = [
        ("KubernetesCluster", CLUSTER),
        ("kubernetes.io/cluster/k8s.mycompany.tld", "owned"),
        ("k8s.io/etcd/main", etcd_tag.as_str()),
        ("SnapshotCreator", "DLM"),
    ];
    Snapshot {
        id: id(member),
        volume_id: format!("vol-{member}").as_str().into(),
        state: SnapshotState::Completed,
        state_message: None,
        started: started.parse().unwrap(),
        completed_after_seconds: None,
        size_gib: 20,
        encrypted: true,
        kms_key_id: None,
        archived: false,
        tags: tags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

/// What one run left of all three.
pub fn run() -> Vec<Snapshot> {
    let members = [
        ("a", "2026-11-22T06:03:00Z"),
        ("b", "2026-11-22T06:03:10Z"),
        ("c", "2026-11-22T06:03:20Z"),
    ];
    members
        .map(|(member, started)| snapshot(member, started))
        .into()
}

pub fn cluster(snapshots: &[Snapshot]) -> Cluster {
    let makers = Makers::new([], &[], &settings());
    let mut fleet = Fleet::new(Vec::new(), snapshots.to_vec(), &makers);
    fleet.clusters.remove(&name()).unwrap()
}

/// A volume with nothing on it, or one that can't be read.
pub struct Volume {
    pub is_readable: bool,
}

impl Volume {
    pub fn member(self, name: &str) -> Member {
        let context = MemberContext {
            etcd_cluster: "main".to_owned(),
            member: name.to_owned(),
            ..MemberContext::default()
        };
        read(&self, &context)
    }

    fn refuse(&self) -> Result<(), ReadError> {
        if self.is_readable {
            Ok(())
        } else {
            Err(ReadError::Unreadable("the time was up".to_owned()))
        }
    }
}

impl Files for Volume {
    fn find(&self, _: &str) -> Result<Option<Entry>, ReadError> {
        self.refuse().map(|()| None)
    }

    fn list(&self, _: &Entry) -> Result<Vec<Entry>, ReadError> {
        self.refuse().map(|()| Vec::new())
    }

    fn read_at(&self, _: &Entry, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
        self.refuse().map(|()| 0)
    }

    fn prefetch(&self, _: &Entry, _: &[Range<u64>]) {}
}
