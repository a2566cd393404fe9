//! What masters find: the filters of etcd-manager and protokube as one pure function. It judges volumes as
//! they are, and tags that are still to be written.
//!
//! Sources: etcd-manager `pkg/volumes/aws/volumes.go`; kops `protokube/pkg/protokube/aws_volume.go`.

use std::collections::BTreeMap;

use etcd_backup_core::Tags;
use etcd_backup_core::discovery::{
    CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, ETCD_PREFIX, Identity, ROLE_CONTROL_PLANE,
    ROLE_MASTER,
};
use etcd_backup_core::ids::{ClusterName, EtcdClusterName, MemberKey, VolumeId, ZoneName};
use etcd_backup_core::volume::Volume;

/// Whether a master of the cluster would take a volume with these tags for the etcd cluster, in its own
/// zone: etcd-manager, which asks for the master's role up to kops 1.25 and for the control plane's from
/// 1.26, or protokube.
pub fn is_found(cluster: &ClusterName, etcd_cluster: &EtcdClusterName, tags: &Tags) -> bool {
    let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
    let is_of_etcd = tags.contains_key(&format!("{ETCD_PREFIX}{etcd_cluster}"));
    let by_etcd_manager = is(&format!("{CLUSTER_OWNED_PREFIX}{cluster}"), CLUSTER_OWNED)
        && (is(ROLE_MASTER, "1") || is(ROLE_CONTROL_PLANE, "1"));
    let by_protokube = is(CLUSTER, cluster.as_str()) && tags.contains_key(ROLE_MASTER);
    is_of_etcd && (by_etcd_manager || by_protokube)
}

/// The volumes that masters find for a member: those that say they are its, and those of its etcd cluster
/// in its zone that don't say whose they are.
pub fn found_for(
    cluster: &ClusterName,
    key: &MemberKey,
    zone: Option<&ZoneName>,
    volumes: &BTreeMap<VolumeId, Volume>,
) -> Vec<VolumeId> {
    let is_theirs = |volume: &&Volume| match Identity::of(&volume.tags) {
        Some(Ok(identity)) => identity.member_key() == *key,
        Some(Err(_)) => zone.is_none_or(|zone| volume.zone == *zone),
        None => false,
    };
    let found = volumes
        .values()
        .filter(|volume| is_found(cluster, &key.etcd_cluster, &volume.tags))
        .filter(is_theirs);
    found.map(|volume| volume.id.clone()).collect()
}

/// What masters find, member by member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MastersFind(pub BTreeMap<MemberKey, Vec<VolumeId>>);

impl MastersFind {
    /// For these members, each in its zone, and for every other member of which a volume is found.
    pub fn new<'a>(
        cluster: &ClusterName,
        members: impl Iterator<Item = (&'a MemberKey, Option<&'a ZoneName>)>,
        volumes: &BTreeMap<VolumeId, Volume>,
    ) -> Self {
        let mut asked: BTreeMap<MemberKey, Option<ZoneName>> = members
            .map(|(key, zone)| (key.clone(), zone.cloned()))
            .collect();
        for volume in volumes.values() {
            if let Some(Ok(identity)) = Identity::of(&volume.tags)
                && is_found(cluster, &identity.etcd.etcd_cluster, &volume.tags)
            {
                let zone = Some(volume.zone.clone());
                asked.entry(identity.member_key()).or_insert(zone);
            }
        }
        let found = asked.into_iter().map(|(key, zone)| {
            let found = found_for(cluster, &key, zone.as_ref(), volumes);
            (key, found)
        });
        Self(found.collect())
    }

    /// What is found for a member.
    pub fn of(&self, key: &MemberKey) -> &[VolumeId] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "k8s.mycompany.tld";

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn each_of_the_filters_finds_and_none_finds_more() {
        const ETCD: (&str, &str) = ("k8s.io/etcd/main", "a/a");
        const OWNED: (&str, &str) = ("kubernetes.io/cluster/k8s.mycompany.tld", "owned");
        const CLUSTER_TAG: (&str, &str) = ("KubernetesCluster", NAME);
        const MASTER: (&str, &str) = ("k8s.io/role/master", "1");
        const CONTROL_PLANE: (&str, &str) = ("k8s.io/role/control-plane", "1");
        let found = |pairs: &[(&str, &str)]| is_found(&NAME.into(), &"main".into(), &tags(pairs));
        for found_by in [
            &[ETCD, OWNED, MASTER][..],
            &[ETCD, OWNED, CONTROL_PLANE],
            &[ETCD, CLUSTER_TAG, MASTER],
            &[ETCD, CLUSTER_TAG, ("k8s.io/role/master", "")],
            // Another cluster's name beside this one's owner: etcd-manager doesn't look at the former.
            &[
                ETCD,
                OWNED,
                MASTER,
                ("KubernetesCluster", "k8s.mycompany.tld "),
            ],
        ] {
            assert!(found(found_by), "{found_by:?}");
        }
        for overlooked in [
            &[OWNED, CLUSTER_TAG, MASTER, CONTROL_PLANE][..],
            &[("k8s.io/etcd/events", "a/a"), OWNED, MASTER],
            &[ETCD, OWNED],
            &[ETCD, OWNED, CLUSTER_TAG],
            &[ETCD, CLUSTER_TAG, CONTROL_PLANE],
            &[ETCD, MASTER, CONTROL_PLANE],
            &[
                ETCD,
                MASTER,
                ("kubernetes.io/cluster/k8s.mycompany.tld", "shared"),
            ],
            &[ETCD, OWNED, ("k8s.io/role/master", "")],
        ] {
            assert!(!found(overlooked), "{overlooked:?}");
        }
    }
}
