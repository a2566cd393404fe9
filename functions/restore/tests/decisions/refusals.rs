//! What is refused, before anything is written.

use std::collections::BTreeMap;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::InstanceState;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::verdict::VERIFIED;
use jiff::SignedDuration;
use restore::decide::exchange::{Side, masters_find, wrong_members};
use restore::decide::refusal::candidates_wrong;
use serde_json::json;

use crate::world::{MEMBERS, World, attachment, tags, time, volume, volume_id, zone};

fn stranger(world: &mut World, tags: Tags) {
    let key = "main/a".parse().unwrap();
    let stranger = volume("vol-stranger", &zone(&key), tags);
    world.volumes.insert(stranger.id.clone(), stranger);
}

#[test]
fn a_member_with_two_volumes_is_for_a_person_to_decide() {
    let mut world = World::new();
    stranger(&mut world, tags(&"main/a".parse().unwrap()));
    insta::assert_snapshot!(world.refusal(json!({})), @"MemberDuplicated: main/a has 2 volumes, and masters may use either: vol-main-a (created 2025-01-01T00:00:00Z, attached to i-a), vol-stranger (created 2025-01-01T00:00:00Z, not attached). Find out which one was in use, and take out of their sight what was not, most likely by: aws ec2 delete-tags --region eu-west-2 --resources vol-stranger --tags Key=k8s.io/etcd/main");
}

#[test]
fn a_cluster_that_nothing_is_left_of_is_unknown() {
    let mut world = World::new();
    world.volumes.clear();
    world.snapshots.clear();
    insta::assert_snapshot!(world.refusal(json!({})), @"ClusterNotFound: no etcd volume and no managed snapshot of k8s.mycompany.tld exists in this account and Region: check the name, the account and the Region (eu-west-2); aws ec2 describe-volumes --region eu-west-2 --filters 'Name=tag-key,Values=k8s.io/etcd/*' lists the etcd volumes that are there");
}

/// As where a person took the snapshot that DLM left out, an hour after the others.
#[test]
fn snapshots_too_far_apart_are_refused_with_those_to_take_instead() {
    let late = |world: &mut World| {
        let mut of_run = world.snapshots_of_last_run();
        let last = of_run.find(|snapshot| snapshot.volume_id == volume_id("main/c"));
        last.unwrap().started += SignedDuration::from_mins(70);
    };
    let mut world = World::new();
    late(&mut world);
    insta::assert_snapshot!(world.refusal(json!({})), @r#"SkewTooLarge: the members' snapshots of the run of 2026-11-22T06:00:00Z were started 71 minutes apart, more than 60 allowed: etcd may panic or lose entries. Say "at": "2026-11-21T06:03:00Z" for the newest older restore point that is close enough, or raise "skew_minutes_max" to 71"#);
    let instead = world.begin(json!({"at": "2026-11-21T06:03:00Z"}));
    assert_eq!(instead.run.unwrap().to_string(), "2026-11-21T06:00:00Z");
    world.begin(json!({"skew_minutes_max": 71}));
    let others = json!({"members": ["a", "b"], "partial": true});
    assert!(world.decide(others).is_ok(), "only those asked for count");

    // Nothing older is complete.
    let last_run = time("2026-11-22T06:00:00Z");
    world
        .snapshots
        .retain(|snapshot| snapshot.started >= last_run);
    insta::assert_snapshot!(world.refusal(json!({})), @r#"SkewTooLarge: the members' snapshots of the run of 2026-11-22T06:00:00Z were started 71 minutes apart, more than 60 allowed: etcd may panic or lose entries. Choose an older restore point with "at", or raise "skew_minutes_max" to 71"#);
}

#[test]
fn what_masters_would_find_beside_the_right_volume_is_refused() {
    let mut malformed = World::new();
    let mut wrong = tags(&"main/a".parse().unwrap());
    wrong.insert("k8s.io/etcd/main".to_owned(), "a".to_owned());
    stranger(&mut malformed, wrong);
    insta::assert_snapshot!(malformed.refusal(json!({})), @r#"VolumeTagWrong: masters of k8s.mycompany.tld would find vol-stranger beside the right volume: it doesn't say whose it is (k8s.io/etcd/main=a: not exactly one "/"; expected <member>/<all members>, like a/a,b,c). Correct its tags, or take it out of their sight: aws ec2 delete-tags --region eu-west-2 --resources vol-stranger --tags Key=k8s.io/etcd/main"#);

    let mut of_another = World::new();
    let mut wrong = tags(&"main/a".parse().unwrap());
    wrong.insert(
        "KubernetesCluster".to_owned(),
        "k8s.mycompany.tld ".to_owned(),
    );
    stranger(&mut of_another, wrong);
    insta::assert_snapshot!(of_another.refusal(json!({})), @r#"VolumeTagWrong: masters of k8s.mycompany.tld would find vol-stranger beside the right volume: it says that it is of "k8s.mycompany.tld ", and is tagged kubernetes.io/cluster/k8s.mycompany.tld too. Correct its tags, or take it out of their sight: aws ec2 delete-tags --region eu-west-2 --resources vol-stranger --tags Key=k8s.io/etcd/main"#);

    let mut overlooked = World::new();
    let mut harmless = tags(&"main/a".parse().unwrap());
    harmless.insert("k8s.io/etcd/main".to_owned(), "a".to_owned());
    harmless.remove("k8s.io/role/master");
    harmless.remove("k8s.io/role/control-plane");
    stranger(&mut overlooked, harmless);
    assert!(overlooked.decide(json!({})).is_ok());
}

#[test]
fn an_undo_is_refused_where_a_new_volume_would_be_found_too() {
    let (mut world, _) = World::restored();
    stranger(&mut world, tags(&"main/a".parse().unwrap()));
    insta::assert_snapshot!(world.refusal(json!({"action": "undo"})), @"VolumeTagWrong: masters of k8s.mycompany.tld would find vol-stranger beside the right volume: it claims main/a, and is neither the old volume nor the restored one. Correct its tags, or take it out of their sight: aws ec2 delete-tags --region eu-west-2 --resources vol-stranger --tags Key=k8s.io/etcd/main");
}

#[test]
fn tags_by_which_masters_would_not_find_the_right_volume_are_refused() {
    let mut world = World::new();
    for key in MEMBERS {
        let tags = &mut world.volume(key).tags;
        tags.remove("k8s.io/role/master");
        tags.remove("kubernetes.io/cluster/k8s.mycompany.tld");
    }
    insta::assert_snapshot!(world.refusal(json!({})), @"VolumeTagWrong: masters of k8s.mycompany.tld would not find the volume that comes for events/a by the tags that it would have. Complete them, and send the event again: aws ec2 create-tags --region eu-west-2 --resources vol-events-a vol-events-b vol-events-c vol-main-a vol-main-b vol-main-c --tags Key=kubernetes.io/cluster/k8s.mycompany.tld,Value=owned");
}

#[test]
fn an_old_volume_that_was_never_found_is_completed_before_an_undo() {
    let mut world = World::new();
    world.terminate_masters();
    let old = &mut world.volume("main/a").tags;
    old.remove("k8s.io/role/master");
    old.remove("k8s.io/role/control-plane");
    let mut record = world.begin(json!({}));
    world.carry_out(&mut record);
    insta::assert_snapshot!(world.refusal(json!({"action": "undo"})), @"VolumeTagWrong: masters of k8s.mycompany.tld would not find the volume that comes for main/a by the tags that it would have. Complete them, and send the event again: aws ec2 create-tags --region eu-west-2 --resources vol-main-a --tags Key=k8s.io/role/master,Value=1");
    let mended = &mut world.volume("main/a").tags;
    mended.insert("k8s.io/role/master".to_owned(), "1".to_owned());
    let mut undone = world.begin(json!({"action": "undo"}));
    world.carry_out(&mut undone);
    assert_eq!(
        world.found()[&"main/a".parse().unwrap()],
        [volume_id("main/a")]
    );
}

#[test]
fn masters_that_may_run_protokube_must_not_run() {
    let mut world = World::new();
    for key in MEMBERS {
        world.volume(key).tags.remove("k8s.io/role/control-plane");
    }
    insta::assert_snapshot!(world.refusal(json!({})), @r#"MastersRunning: the etcd volumes of k8s.mycompany.tld are attached to i-a, i-b, i-c, which run, and nothing tells that etcd-manager mounts its volumes: it may be protokube, which attaches a restored volume within a minute, beside live, newer peers. Say "masters": "replace"; or stop all masters first (suspend their autoscaling groups' launches, then terminate them); or, where etcd-manager pods run on the masters, say "mounted_by": "etcd-manager""#);
    let said = |by: &str| json!({"mounted_by": by});
    assert!(world.decide(said("etcd-manager")).is_ok());
    assert!(World::new().decide(json!({})).is_ok(), "the role tells it");
    let refusal = World::new().refusal(said("protokube"));
    assert!(refusal.starts_with("MastersRunning: "), "{refusal}");

    let mut by_group = world.clone();
    let tag = (
        "kubernetes.io/cluster/k8s.mycompany.tld".to_owned(),
        "owned".to_owned(),
    );
    by_group.control_plane.groups[0].tags.extend([tag]);
    assert!(by_group.decide(json!({})).is_ok(), "a group's tag tells it");

    let mut stopped = world;
    for master in &mut stopped.control_plane.masters {
        master.state = InstanceState::Stopped;
    }
    assert!(stopped.decide(json!({})).is_ok());
}

#[test]
fn no_volume_is_lost_with_its_master_whatever_becomes_of_that() {
    let mut world = World::new();
    world.volume("events/b").attachments[0].delete_on_termination = true;
    let left = world.refusal(json!({"etcd_clusters": ["main"]}));
    insta::assert_snapshot!(left, @"VolumeWouldBeLost: vol-events-b would be deleted with the master that it is attached to (DeleteOnTermination); no master was terminated. Turn that off for each (aws ec2 modify-instance-attribute --region eu-west-2 --instance-id i-b --block-device-mappings 'DeviceName=/dev/xvdu,Ebs={DeleteOnTermination=false}'), and send the event again");
    assert_eq!(world.refusal(json!({"masters": "replace"})), left);
}

#[test]
fn masters_that_cannot_be_replaced_are_not_begun_with() {
    let replace = json!({"masters": "replace"});
    let mut protected = World::new();
    protected.control_plane.protected.insert("i-b".into());
    insta::assert_snapshot!(protected.refusal(replace.clone()), @"MasterProtected: termination protection is on for i-b, so that not all masters could be replaced; no master was terminated. Take it off (aws ec2 modify-instance-attribute --region eu-west-2 --instance-id i-b --no-disable-api-termination) and send the event again");

    let mut alone = World::new();
    alone.control_plane.groups[2].instances.clear();
    insta::assert_snapshot!(alone.refusal(replace.clone()), @"MasterWithoutGroup: in no control-plane autoscaling group of the cluster, so that nothing would bring them back: i-c; no master was terminated. Stop them and detach their etcd volumes, or terminate them yourself, and send the event again; start them when the answer is done");

    let mut held = World::new();
    held.volume("main/a").attachments = vec![attachment("i-rescue")];
    insta::assert_snapshot!(held.refusal(replace), @"MasterWithoutGroup: in no control-plane autoscaling group of the cluster, so that nothing would bring them back: i-rescue (which holds vol-main-a); no master was terminated. Stop them and detach their etcd volumes, or terminate them yourself, and send the event again; start them when the answer is done");
}

#[test]
fn damaged_snapshots_are_taken_only_where_somebody_says_so() {
    let mut world = World::new();
    let damaged = world.snapshots_of_last_run().next().unwrap();
    damaged
        .tags
        .insert(VERIFIED.to_owned(), "damaged".to_owned());
    insta::assert_snapshot!(world.refusal(json!({})), @r#"RestorePointDamaged: verify found events damaged (snap-events-a-2026-11-22T06:00:00Z): etcd would not start from it. Choose another restore point with "at" (see {"action":"list","cluster":"k8s.mycompany.tld"}), restore only what is sound with "etcd_clusters", or say "allow_damaged": true"#);
    let record = world.begin(json!({"allow_damaged": true}));
    insta::assert_snapshot!(record.warnings.join("\n"), @"verify found events damaged (snap-events-a-2026-11-22T06:00:00Z)");
}

#[test]
fn more_tags_than_ec2_allows_are_refused_and_no_others() {
    let mut world = World::new();
    let users = |count: usize| (0..count).map(|index| (format!("team/{index}"), "x".to_owned()));
    world.volume("main/a").tags.extend(users(40));
    assert!(
        world.decide(json!({})).is_ok(),
        "47 and the restore's own three"
    );
    world.volume("main/a").tags.extend(users(41));
    insta::assert_snapshot!(world.refusal(json!({})), @"TagLimit: the new volume of main/a would have 51 tags of at most 50: take 1 that nobody needs off the old volume or off snap-main-a-2026-11-22T06:00:00Z");
}

#[test]
fn snapshots_of_what_nothing_knows_are_refused() {
    let world = World::new();
    let id = world.snapshots[0].id.clone();
    insta::assert_snapshot!(world.refusal(json!({"snapshots": {"cillium/a": id}})), @r#"InvalidEvent: snap-events-a-2026-11-21T06:00:00Z, which "snapshots" names for cillium/a, is of events/a"#);
}

#[test]
fn what_masters_find_wrongly_is_told_apart_none_too_many_or_another() {
    let (mut world, record) = World::restored();
    let new = |key: &str| {
        let member = &record.members[&key.parse().unwrap()];
        member.incoming.volume_id.clone().unwrap()
    };
    let as_it_was = |key: &str| {
        record.members[&key.parse().unwrap()].outgoing[0]
            .tags
            .clone()
    };
    for key in ["main/a", "main/c"] {
        world.volumes.get_mut(&new(key)).unwrap().tags.clear();
    }
    for key in ["main/b", "main/c"] {
        world.volume(key).tags = as_it_was(key);
    }
    let found = masters_find(&record, &world.volumes);
    let wrong = wrong_members(&record, Side::Incoming, &found);
    let keys: Vec<_> = wrong.iter().map(|member| member.key.to_string()).collect();
    assert_eq!(keys, ["main/a", "main/b", "main/c"]);
    insta::assert_snapshot!(candidates_wrong(&wrong), @"CandidatesWrong: masters would not find exactly the right one for each member: main/a: none is found, vol-r-8ee654b2d2df-main-a should be; main/b: too many are found (vol-main-b, vol-r-8ee654b2d2df-main-b), vol-r-8ee654b2d2df-main-b alone should be; main/c: vol-main-c is found in the place of vol-r-8ee654b2d2df-main-c. Before any master starts, put the discovery tags back that somebody takes off the right ones, and take the k8s.io/etcd/… tag off what should not be found; then send the same event again");
}

/// What is named by hand is somebody's: by its tags, or by its volume's.
#[test]
fn a_snapshot_named_by_hand_is_its_volumes_also_without_tags() {
    let mut world = World::new();
    let ids: BTreeMap<String, SnapshotId> = MEMBERS
        .iter()
        .map(|key| {
            let of_volume = |of: &&Snapshot| of.volume_id == volume_id(key);
            let newest = world.snapshots.iter().rfind(of_volume).unwrap();
            ((*key).to_owned(), newest.id.clone())
        })
        .collect();
    for snapshot in &mut world.snapshots {
        snapshot.tags.clear();
    }
    assert!(world.decide(json!({"snapshots": ids})).is_ok());
    let mut crossed = ids.clone();
    crossed.insert("main/a".to_owned(), ids["main/b"].clone());
    crossed.insert("main/b".to_owned(), ids["main/a"].clone());
    let refusal = world.refusal(json!({"snapshots": crossed}));
    assert!(
        refusal.ends_with("names for main/a, is of main/b"),
        "{refusal}"
    );

    // Another cluster's, known by its volume alone.
    let foreign = world.snapshots.iter_mut().find(|of| of.id == ids["main/c"]);
    foreign.unwrap().volume_id = "vol-foreign".into();
    let mut volume = world.volumes[&volume_id("main/c")].clone();
    volume.id = "vol-foreign".into();
    volume.tags.insert(
        "KubernetesCluster".to_owned(),
        "dev.mycompany.tld".to_owned(),
    );
    volume
        .tags
        .remove("kubernetes.io/cluster/k8s.mycompany.tld");
    world.volumes.insert(volume.id.clone(), volume);
    let refusal = world.refusal(json!({"snapshots": ids}));
    assert!(
        refusal.contains("belongs to dev.mycompany.tld"),
        "{refusal}"
    );
}

#[test]
fn a_member_named_by_hand_is_one_that_something_knows() {
    let mut world = World::new();
    let id = world.snapshots.last().unwrap().id.clone();
    for snapshot in &mut world.snapshots {
        snapshot.tags.clear();
        snapshot.volume_id = "vol-unknown".into();
    }
    let event = json!({"snapshots": {"main/z": id}, "partial": true, "zones": {"z": "eu-west-2a"}});
    insta::assert_snapshot!(world.refusal(event), @r#"InvalidEvent: "snapshots" names main/z, which nothing knows; there is events/a, events/b, events/c, main/a, main/b, main/c"#);
}

/// The command takes what is not in use out of sight, whichever has the later id; where nothing tells, it
/// doesn't choose.
#[test]
fn of_two_volumes_the_one_in_use_is_not_untagged() {
    for (other, attached) in [
        ("vol-0", "main/a"),
        ("vol-z", "main/a"),
        ("vol-0", ""),
        ("vol-z", ""),
    ] {
        let mut world = World::new();
        let mut twin = world.volume("main/a").clone();
        twin.id = other.into();
        twin.attachments.clear();
        world.volumes.insert(twin.id.clone(), twin);
        if attached.is_empty() {
            world.volume("main/a").attachments.clear();
        }
        let refusal = world.refusal(json!({}));
        let untags = |id: &str| refusal.contains(&format!("--resources {id} "));
        assert!(untags(other), "{refusal}");
        assert_eq!(
            untags(volume_id("main/a").as_str()),
            attached.is_empty(),
            "{refusal}"
        );
    }
}
