//! Volumes that are nobody's etcd volumes, some of them nearly so.

use etcd_backup_core::Tags;
use etcd_backup_core::ids::VolumeId;

use super::etcd_volume;
use crate::emulated_aws::EmulatedAws;

/// Other people's tags; none has a key that begins with `k8s.io/etcd/`.
const STRANGE_TAGS: &[&[(&str, &str)]] = &[
    &[],
    &[("Name", "jenkins-home"), ("team", "tools")],
    // A persistent volume that the cluster itself made.
    &[
        ("KubernetesCluster", "k8s.mycompany.tld"),
        ("kubernetes.io/cluster/k8s.mycompany.tld", "owned"),
        ("kubernetes.io/created-for/pvc/name", "data-postgres-0"),
    ],
    &[
        ("Name", "Größe? ✓ <&\"'>"),
        ("empty", ""),
        ("k8s.io/etcd", "a/a,b,c"),
    ],
    // A worker's root volume.
    &[
        ("KubernetesCluster", "k8s.mycompany.tld"),
        ("k8s.io/role/node", "1"),
        ("Name", "nodes.k8s.mycompany.tld"),
    ],
    // Somebody else's etcd, not made by kops.
    &[
        ("Name", "a.etcd-main.k8s.mycompany.tld.old"),
        ("role", "etcd"),
    ],
    &[("K8S.IO/ETCD/main", "a/a,b,c"), ("k8s.io/role/master", "0")],
];

/// Makes `count` volumes of other people, in all zones.
pub async fn strangers(aws: &EmulatedAws, count: usize) -> Vec<VolumeId> {
    let mut volumes = Vec::with_capacity(count);
    let zones = ["eu-west-2a", "eu-west-2b", "eu-west-2c"]
        .into_iter()
        .cycle();
    for (pairs, zone) in STRANGE_TAGS.iter().cycle().zip(zones).take(count) {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let tags: Tags = pairs.iter().map(owned).collect();
        volumes.push(etcd_volume(aws, zone, false, &tags).await);
    }
    volumes
}
