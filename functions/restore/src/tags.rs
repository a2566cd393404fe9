//! The complete set of tags that a restored volume ends with.

use etcd_backup_core::Tags;
use etcd_backup_core::discovery::{
    self, CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, EtcdTag, Identity, NAME,
    ROLE_CONTROL_PLANE, ROLE_MASTER,
};
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_tags::{PREFIX, Retirement};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::Volume;

/// A volume's tags as they were before any restore touched it.
pub fn original(volume: &Volume) -> Tags {
    let mut tags: Tags = volume
        .tags
        .iter()
        .filter(|(key, _)| !key.starts_with(PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(retirement) = Retirement::of(&volume.tags) {
        tags.extend(retirement.was);
    }
    tags
}

/// The snapshot's tags without what AWS, DLM and restores put there, completed from the old volume's,
/// and made whole where neither says what masters look for.
pub fn complete(
    cluster: &ClusterName,
    etcd: &EtcdTag,
    of_snapshot: &Tags,
    of_old_volume: Option<&Tags>,
    settings: &Settings,
) -> Tags {
    let mut tags: Tags = of_snapshot
        .iter()
        .filter(|(key, _)| is_a_volumes_own(key) && !settings.adds_tag(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    // An etcd tag that doesn't parse, or a second one, must not come back.
    for key in discovery::etcd_keys(&tags) {
        tags.remove(&key);
    }
    tags.insert(etcd.key(), etcd.value());
    for (key, value) in of_old_volume.into_iter().flatten() {
        let is_etcd = key.starts_with(discovery::ETCD_PREFIX);
        if !is_etcd && is_a_volumes_own(key) {
            tags.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    // Nothing at all says whose it is, as on a copied snapshot: what kops sets since 1.12.
    if !tags.contains_key(CLUSTER) && !tags.keys().any(|key| key.starts_with(CLUSTER_OWNED_PREFIX))
    {
        tags.insert(
            format!("{CLUSTER_OWNED_PREFIX}{cluster}"),
            CLUSTER_OWNED.to_owned(),
        );
    }
    tags.insert(CLUSTER.to_owned(), cluster.to_string());
    if !tags.contains_key(ROLE_MASTER) && !tags.contains_key(ROLE_CONTROL_PLANE) {
        tags.insert(ROLE_MASTER.to_owned(), "1".to_owned());
    }
    let identity = Identity {
        cluster: cluster.clone(),
        etcd: etcd.clone(),
    };
    tags.entry(NAME.to_owned())
        .or_insert_with(|| identity.volume_name());
    tags
}

fn is_a_volumes_own(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    !lower.starts_with("aws:") && !lower.starts_with("dlm:") && !key.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn completed(of_snapshot: &[(&str, &str)], of_old_volume: Option<&[(&str, &str)]>) -> String {
        let settings = Settings::from_variables(&|_| None).unwrap();
        let etcd = EtcdTag::parse("k8s.io/etcd/main", "a/a,b,c")
            .unwrap()
            .unwrap();
        let of_old_volume = of_old_volume.map(tags);
        let completed = complete(
            &"k8s.mycompany.tld".into(),
            &etcd,
            &tags(of_snapshot),
            of_old_volume.as_ref(),
            &settings,
        );
        let lines: Vec<String> = completed
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn what_aws_dlm_and_restores_added_is_left_out() {
        let of_snapshot = [
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("Name", "a.etcd-main.k8s.mycompany.tld"),
            ("SnapshotCreator", "DLM"),
            ("aws:dlm:lifecycle-policy-id", "policy-0abc"),
            ("dlm:managed", "true"),
            ("etcd-backup/restore-id", "r-1f2e3d4c5b6a"),
            ("k8s.io/etcd/main", "a/a,b,c"),
            ("k8s.io/role/master", "1"),
            ("owner", "then"),
        ];
        let of_old_volume = [
            ("SnapshotCreator", "the volume's own"),
            ("etcd-backup/restore-id", "r-1f2e3d4c5b6a"),
            ("k8s.io/role/control-plane", "1"),
            ("kubernetes.io/cluster/k8s.mycompany.tld", "owned"),
            ("owner", "now"),
        ];
        insta::assert_snapshot!(completed(&of_snapshot, Some(&of_old_volume)), @r"
        KubernetesCluster=k8s.mycompany.tld
        Name=a.etcd-main.k8s.mycompany.tld
        SnapshotCreator=the volume's own
        k8s.io/etcd/main=a/a,b,c
        k8s.io/role/control-plane=1
        k8s.io/role/master=1
        kubernetes.io/cluster/k8s.mycompany.tld=owned
        owner=then
        ");
    }

    #[test]
    fn a_bare_snapshot_still_gives_a_volume_that_masters_find() {
        insta::assert_snapshot!(completed(&[], None), @r"
        KubernetesCluster=k8s.mycompany.tld
        Name=a.etcd-main.k8s.mycompany.tld
        k8s.io/etcd/main=a/a,b,c
        k8s.io/role/master=1
        kubernetes.io/cluster/k8s.mycompany.tld=owned
        ");
    }

    #[test]
    fn an_old_cluster_keeps_its_old_tags() {
        let old_style = [
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("k8s.io/role/master", "1"),
        ];
        assert!(!completed(&old_style, None).contains("kubernetes.io/cluster/"));
    }
}
