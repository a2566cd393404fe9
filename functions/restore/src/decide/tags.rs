//! The complete set of tags that a restored volume ends with.
//!
//! Discovery tags and `Name` are written as kops would write them for the member now, whatever the
//! snapshot's or the old volume's were: a wrong one of then must not come back. All others come from the
//! old volume, and from the snapshot where that is silent.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::discovery::{
    CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, Identity, NAME, ROLE_CONTROL_PLANE, ROLE_MASTER,
    cluster_of, is_discovery_key, is_discovery_tag, owner_key,
};
use etcd_backup_core::restore_tags::PREFIX;
use etcd_backup_core::settings::Settings;

/// Which of its discovery tags kops writes on a cluster's volumes; its versions differ in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagStyle {
    /// `kubernetes.io/cluster/<name>`, since kops 1.9.
    owner: bool,
    /// `k8s.io/role/master`.
    master: bool,
    /// `k8s.io/role/control-plane`, since kops 1.26.
    control_plane: bool,
}

impl TagStyle {
    /// As the cluster's live volumes have it, of which one may lack what another has; where none is left,
    /// as the snapshots to be restored do; where those are bare, as kops has written since 1.12.
    pub fn of<'a>(
        live: impl Iterator<Item = &'a Tags>,
        snapshots: impl Iterator<Item = &'a Tags>,
    ) -> Self {
        // A volume may name several clusters; only the one that it belongs to tells how kops tags it.
        let keys = |tags: &'a Tags| {
            let own = cluster_of(tags).map(|cluster| owner_key(&cluster));
            let is_of_it = move |key: &&str| {
                !key.starts_with(CLUSTER_OWNED_PREFIX) || own.as_deref() == Some(*key)
            };
            tags.keys().map(String::as_str).filter(is_of_it)
        };
        let of_live: BTreeSet<&str> = live.flat_map(keys).collect();
        let of_snapshots = snapshots.flat_map(keys).collect();
        let is_silent =
            |keys: &BTreeSet<&str>| !keys.iter().any(|key| is_discovery_key(key) && *key != NAME);
        let keys = if is_silent(&of_live) {
            of_snapshots
        } else {
            of_live
        };
        let has = |wanted: &str| keys.contains(wanted);
        Self {
            owner: is_silent(&keys) || keys.iter().any(|key| key.starts_with(CLUSTER_OWNED_PREFIX)),
            master: has(ROLE_MASTER) || !has(ROLE_CONTROL_PLANE),
            control_plane: has(ROLE_CONTROL_PLANE),
        }
    }
}

/// The tags of the volume that is restored for a member.
pub fn complete(
    identity: &Identity,
    style: TagStyle,
    of_snapshot: &Tags,
    of_old_volume: Option<&Tags>,
    settings: &Settings,
) -> Tags {
    let owner = owner_key(&identity.cluster);
    let is_written_anew = |key: &str, value: &str| key == owner || is_discovery_tag(key, value);
    let own = |tags: &Tags, is_added: &dyn Fn(&str, &str) -> bool| -> Tags {
        let own = tags.iter().filter(|(key, value)| {
            is_a_volumes_own(key) && !is_written_anew(key, value) && !is_added(key, value)
        });
        own.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    // On a snapshot, the policy's tags have overwritten whatever values the volume had.
    let mut tags = own(of_snapshot, &|key, _| settings.adds_tag(key));
    if let Some(of_old_volume) = of_old_volume {
        tags.extend(own(of_old_volume, &|key, value| {
            let mut added = settings.tags_to_add.iter();
            added.any(|tag| tag.key == key && tag.value == value)
        }));
    }
    tags.extend(discovery_tags(identity, style));
    tags
}

fn discovery_tags(identity: &Identity, style: TagStyle) -> Tags {
    let Identity { cluster, etcd } = identity;
    let flag = |is_on: bool, key: &str| is_on.then(|| (key.to_owned(), "1".to_owned()));
    let owner = style
        .owner
        .then(|| (owner_key(cluster), CLUSTER_OWNED.to_owned()));
    let tags = [
        Some((CLUSTER.to_owned(), cluster.to_string())),
        Some((NAME.to_owned(), identity.volume_name())),
        Some((etcd.key(), etcd.value())),
        owner,
        flag(style.master, ROLE_MASTER),
        flag(style.control_plane, ROLE_CONTROL_PLANE),
    ];
    tags.into_iter().flatten().collect()
}

/// Whether a tag can stand on a volume, and isn't this project's own.
pub fn is_a_volumes_own(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    !lower.starts_with("aws:") && !lower.starts_with("dlm:") && !key.starts_with(PREFIX)
}

/// The tags without those that only AWS writes.
pub fn without_aws(tags: &Tags) -> Tags {
    let writable = tags
        .iter()
        .filter(|(key, _)| !key.to_ascii_lowercase().starts_with("aws:"));
    writable
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What a volume carries from the moment it is made: all but that by which masters and kops find it.
pub fn at_creation(tags: &Tags) -> Tags {
    let harmless = tags
        .iter()
        .filter(|(key, value)| !is_discovery_tag(key, value));
    harmless
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::discovery::EtcdTag;

    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn completed(of_snapshot: &[(&str, &str)], of_old_volume: Option<&[(&str, &str)]>) -> String {
        let settings = Settings::from_variables(&|_| None).unwrap();
        let etcd = EtcdTag::parse("k8s.io/etcd/main", "a/a,b,c")
            .unwrap()
            .unwrap();
        let identity = Identity {
            cluster: "k8s.mycompany.tld".into(),
            etcd,
        };
        let (of_snapshot, of_old_volume) = (tags(of_snapshot), of_old_volume.map(tags));
        let style = TagStyle::of(of_old_volume.iter(), std::iter::once(&of_snapshot));
        let completed = complete(
            &identity,
            style,
            &of_snapshot,
            of_old_volume.as_ref(),
            &settings,
        );
        let lines = completed
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_old_volumes_tags_come_before_the_snapshots_and_wrong_ones_are_left_out() {
        let of_snapshot = [
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("Name", "restored-by-hand"),
            ("k8s.io/etcd/main", "a/a"),
            ("k8s.io/role/master", "0"),
            ("kubernetes.io/cluster/other", "owned"),
            ("aws:dlm:lifecycle-policy-id", "policy-0"),
            ("dlm:managed", "true"),
            ("etcd-backup/verified", "restorable"),
            ("SnapshotCreator", "DLM"),
            ("backup", "no"),
            ("owner", "then"),
            ("only", "then"),
        ];
        let of_old_volume = [
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("Name", "a.etcd-main.k8s.mycompany.tld"),
            ("k8s.io/etcd/main", "a/a,b,c"),
            ("k8s.io/role/master", "1"),
            ("k8s.io/role/control-plane", "1"),
            ("kubernetes.io/cluster/k8s.mycompany.tld", "owned"),
            ("SnapshotCreator", "the volume's own"),
            ("backup", "yes"),
            ("owner", "now"),
        ];
        insta::assert_snapshot!(completed(&of_snapshot, Some(&of_old_volume)), @r"
        KubernetesCluster=k8s.mycompany.tld
        Name=a.etcd-main.k8s.mycompany.tld
        SnapshotCreator=the volume's own
        backup=yes
        k8s.io/etcd/main=a/a,b,c
        k8s.io/role/control-plane=1
        k8s.io/role/master=1
        kubernetes.io/cluster/k8s.mycompany.tld=owned
        only=then
        owner=now
        ");
    }

    #[test]
    fn a_snapshot_without_tags_still_gives_a_volume_that_masters_find() {
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
        for of_old_volume in [None, Some(&old_style[..])] {
            assert!(!completed(&old_style, of_old_volume).contains("kubernetes.io/cluster/"));
        }
    }

    /// No master looks for what a cluster merely shares; what another owns, its masters would find.
    #[test]
    fn that_another_cluster_shares_a_volume_is_no_discovery_tag() {
        let of_old_volume = [
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("k8s.io/role/master", "1"),
            ("kubernetes.io/cluster/other", "shared"),
            ("kubernetes.io/cluster/wrong", "owned"),
        ];
        insta::assert_snapshot!(completed(&[], Some(&of_old_volume)), @r"
        KubernetesCluster=k8s.mycompany.tld
        Name=a.etcd-main.k8s.mycompany.tld
        k8s.io/etcd/main=a/a,b,c
        k8s.io/role/master=1
        kubernetes.io/cluster/other=shared
        ");
        let shared = tags(&[("kubernetes.io/cluster/other", "shared")]);
        assert_eq!(at_creation(&tags(&of_old_volume)), shared);
        let wrong = [("kubernetes.io/cluster/k8s.mycompany.tld", "shared")];
        assert!(completed(&wrong, None).contains("kubernetes.io/cluster/k8s.mycompany.tld=owned"));
        let completed = completed(&wrong, Some(&of_old_volume));
        assert!(
            !completed.contains("kubernetes.io/cluster/k8s"),
            "{completed}"
        );
    }

    #[test]
    fn a_volume_is_made_without_what_masters_or_kops_find_it_by() {
        let all = tags(&[
            ("KubernetesCluster", "k8s.mycompany.tld"),
            ("Name", "a.etcd-main.k8s.mycompany.tld"),
            ("k8s.io/etcd/main", "a/a"),
            ("k8s.io/role/master", "1"),
            ("owner", "platform"),
            ("backup", "yes"),
        ]);
        assert_eq!(
            at_creation(&all),
            tags(&[("owner", "platform"), ("backup", "yes")])
        );
    }
}
