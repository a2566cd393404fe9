//! Volumes' tags, and the room that they leave.

use audit::finding::Kind;
use etcd_backup_core::volume::Volume;

use crate::world::{
    NOTHING, at, clean, each_is_found_and_nothing_else, findings, report, snapshot, tags, volume,
    volume_mut,
};

#[test]
fn wrong_tags_are_found() {
    each_is_found_and_nothing_else(&[
        (
            "the target tag was taken off",
            |i| {
                volume_mut(i, "vol-0-main-a")
                    .tags
                    .remove("k8s.io/role/master");
            },
            &[
                "critical volume_not_targeted main/a",
                "info snapshots_orphaned",
            ],
        ),
        (
            "an etcd tag is malformed",
            |i| set_tag(i, "k8s.io/etcd/main", "a"),
            &["warning volume_tag_wrong vol-0-main-a"],
        ),
        (
            "a stranger's etcd tag is malformed",
            |i| {
                let stray = tags(&[("k8s.io/etcd/main", "<b>"), ("k8s.io/role/master", "1")]);
                i.volumes.push(Volume {
                    id: "vol-stray".into(),
                    tags: stray,
                    ..volume("main", "a")
                });
            },
            &["warning volume_tag_wrong vol-stray"],
        ),
        (
            "the Name is another member's",
            |i| set_tag(i, "Name", "b.etcd-main.k8s.mycompany.tld"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the Name is missing",
            |i| take_tag(i, "Name"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "two clusters own the volume",
            |i| set_tag(i, "kubernetes.io/cluster/other.tld", "owned"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster is shared instead of owned",
            |i| set_tag(i, "kubernetes.io/cluster/k8s.mycompany.tld", "shared"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster's tag is missing where siblings carry it",
            |i| take_tag(i, "kubernetes.io/cluster/k8s.mycompany.tld"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster's old tag is empty",
            |i| set_tag(i, "KubernetesCluster", ""),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster's old tag is missing",
            |i| take_tag(i, "KubernetesCluster"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "one volume alone lacks the control plane's role",
            |i| {
                for volume in &mut i.volumes {
                    if volume.id.as_str() != "vol-0-main-a" {
                        let role = "k8s.io/role/control-plane".to_owned();
                        volume.tags.insert(role, "1".into());
                    }
                }
            },
            &["warning volume_tag_wrong main/a"],
        ),
    ]);
}

#[test]
fn that_another_cluster_shares_a_volume_is_no_contradiction() {
    let key = "kubernetes.io/cluster/other.tld";
    let with = |value: &str| {
        let mut inventory = clean();
        set_tag(&mut inventory, key, value);
        problems(inventory)
    };
    assert_eq!(with("shared"), NOTHING);
    insta::assert_snapshot!(with("owned").join("\n"), @"kubernetes.io/cluster/other.tld=owned contradicts KubernetesCluster=k8s.mycompany.tld");
}

fn set_tag(inventory: &mut audit::inventory::Inventory, key: &str, value: &str) {
    let tags = &mut volume_mut(inventory, "vol-0-main-a").tags;
    tags.insert(key.into(), value.into());
}

fn take_tag(inventory: &mut audit::inventory::Inventory, key: &str) {
    volume_mut(inventory, "vol-0-main-a").tags.remove(key);
}

#[test]
fn a_member_named_after_a_zone_must_be_in_it() {
    let old_style = |member: &str, zone: &str| {
        let mut inventory = clean();
        let mut volume = volume("main", "a");
        volume.zone = zone.into();
        volume.tags = tags(&[
            ("KubernetesCluster", "old.tld"),
            ("k8s.io/role/master", "1"),
            ("Name", &format!("{member}.etcd-main.old.tld")),
            ("k8s.io/etcd/main", &format!("{member}/{member}")),
        ]);
        volume.id = "vol-old".into();
        inventory.snapshots.push(snapshot(&volume, 0));
        volume.created = at("2026-11-21T12:00:00Z");
        inventory.volumes.push(volume);
        findings(inventory)
    };
    assert_eq!(old_style("eu-central-1a", "eu-central-1a"), NOTHING);
    let wrong = ["warning volume_tag_wrong main/eu-central-1a"];
    assert_eq!(old_style("eu-central-1a", "eu-central-1b"), wrong);
    assert_eq!(
        old_style("master-1", "eu-central-1b"),
        NOTHING,
        "no zone's name"
    );
    assert_eq!(
        old_style("control-plane-1a", "eu-west-2a"),
        NOTHING,
        "no zone of this Region"
    );
}

/// A clean account in which `main/a`'s volume and its snapshots have so many tags of the
/// organisation's own that the volume has `count` in all, `aws:` ones left out; and one of those.
fn with_tags(count: usize) -> audit::inventory::Inventory {
    let mut inventory = clean();
    let own = inventory.volumes.iter_mut();
    let own = own.filter(|volume| volume.id.as_str() == "vol-0-main-a");
    let resources = own.map(|volume| &mut volume.tags);
    let snapshots = inventory.snapshots.iter_mut();
    let snapshots = snapshots.filter(|of| of.volume_id.as_str() == "vol-0-main-a");
    let discovery = 5;
    for tags in resources.chain(snapshots.map(|snapshot| &mut snapshot.tags)) {
        tags.insert("aws:cloudformation:stack-name".into(), "etcd".into());
        for index in discovery..count {
            tags.insert(format!("cost-{index}"), "x".into());
        }
    }
    inventory
}

/// The problems of the volume of `main/a`.
fn problems(inventory: audit::inventory::Inventory) -> Vec<String> {
    let mut findings = report(inventory).findings.into_iter();
    match findings.next().map(|finding| finding.kind) {
        None => Vec::new(),
        Some(Kind::VolumeTagWrong { problems }) => problems,
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn tags_that_leave_no_room_are_found_before_the_worst_day() {
    assert_eq!(
        problems(with_tags(47)),
        NOTHING,
        "50 with a restore's three"
    );
    insta::assert_snapshot!(problems(with_tags(48)).join("\n"), @"a volume restored from its latest snapshot would need 51 tags (48 of the two; restore adds 3), and EC2 allows 50: take 1 off that nobody needs");
    insta::assert_snapshot!(problems(with_tags(50)).join("\n"), @r"
    a snapshot of it would need 52 tags (50 of its own; DLM adds SnapshotCreator, dlm:managed), and EC2 allows 50: take 2 off that nobody needs
    a volume restored from its latest snapshot would need 53 tags (50 of the two; restore adds 3), and EC2 allows 50: take 3 off that nobody needs
    ");
}

#[test]
fn room_is_asked_of_the_latest_snapshot_too() {
    let mut inventory = with_tags(20);
    for index in 0..28 {
        let tags = &mut crate::world::snapshot_of(&mut inventory, "vol-0-main-a", 0).tags;
        tags.insert(format!("then-{index}"), "x".into());
    }
    insta::assert_snapshot!(problems(inventory).join("\n"), @"a volume restored from its latest snapshot would need 51 tags (48 of the two; restore adds 3), and EC2 allows 50: take 1 off that nobody needs");
}
