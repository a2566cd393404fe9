//! The order of the start: a quorum with the newest member of each etcd cluster first, and the rest when
//! the restored volumes of these have been attached for three minutes.

use super::*;
use e2e::{MasterDid, Style};
use etcd_backup_core::ids::InstanceId;

const WAVE: Duration = Duration::from_secs(180);

/// The zones or groups of a wave of masters, by the emulated AWS's own record.
struct Waves {
    first: BTreeSet<String>,
    second: BTreeSet<String>,
}

/// Which groups launched first, and which after the clock had run on for three minutes.
async fn waves(bed: &RestoreBed) -> Waves {
    let events = bed.aws.master_events().await;
    let launched: Vec<_> = events
        .iter()
        .filter(|event| event.event == MasterDid::Launched)
        .collect();
    let first_at = launched.first().expect("masters were launched").at;
    let is_first = |at: jiff::Timestamp| at.duration_since(first_at) < WAVE.try_into().unwrap();
    let (first, second): (Vec<_>, Vec<_>) =
        launched.into_iter().partition(|event| is_first(event.at));
    let groups = |events: Vec<&e2e::MasterEvent>| {
        events
            .into_iter()
            .map(|event| event.group.clone())
            .collect()
    };
    Waves {
        first: groups(first),
        second: groups(second),
    }
}

/// Makes a member's snapshot the newest of its etcd cluster.
async fn make_newest(bed: &RestoreBed, member: &str) {
    let etcd_cluster = member.split('/').next().unwrap();
    let others = bed.cluster.volumes.keys().map(ToString::to_string);
    let mut latest = jiff::Timestamp::MIN;
    for other in others.filter(|other| other.starts_with(etcd_cluster)) {
        let id = bed.newest_snapshot(&other).await;
        let described = bed.aws.ec2().describe_snapshots().snapshot_ids(id.as_str());
        let described = described.send().await.unwrap();
        let started = described.snapshots()[0].start_time().unwrap().secs();
        latest = latest.max(jiff::Timestamp::from_second(started).unwrap());
    }
    let later = (latest + Duration::from_secs(30)).to_string();
    let snapshot = bed.newest_snapshot(member).await;
    bed.aws
        .set_snapshot(&snapshot, json!({"start_time": later}))
        .await;
}

fn group_of<'a>(bed: &'a RestoreBed, member: &str) -> &'a String {
    let mut masters = bed.cluster.masters.iter();
    let found = masters.find(|master| master.member == member);
    &found
        .unwrap_or_else(|| panic!("no master of {member}"))
        .group
}

#[tokio::test]
async fn the_newest_member_is_among_the_first_quorum_whichever_it_is() {
    let seeded = RestoreBed::small().await;
    for newest in ["a", "b", "c"] {
        let bed = seeded.fork().await;
        let member = format!("main/{newest}");
        make_newest(&bed, &member).await;
        let plan = bed
            .ask(json!({"action": "plan", "masters": "replace"}))
            .await;
        let done = bed.done(replace()).await;
        let first: BTreeSet<_> = strings(&done["start_first"]).into_iter().collect();
        assert!(first.contains(&member), "{first:?}");
        assert_eq!(first.len(), 2, "a quorum of three");
        assert_eq!(plan["start_first"], done["start_first"]);
        let waves = waves(&bed).await;
        assert_eq!((waves.first.len(), waves.second.len()), (2, 1));
        let expected: BTreeSet<_> = first
            .iter()
            .map(|member| group_of(&bed, member.strip_prefix("main/").unwrap()).clone())
            .collect();
        assert_eq!(waves.first, expected);
        bed.assert_resumed().await;
    }
}

#[tokio::test]
async fn one_master_starts_by_itself() {
    let bed = RestoreBed::of(Kops::new(CLUSTER).members(&[("a", "eu-west-2a")])).await;
    let done = bed.done(replace()).await;
    assert_eq!(done["start_first"], json!([]));
    let waves = waves(&bed).await;
    assert_eq!((waves.first.len(), waves.second.len()), (1, 0));
}

#[tokio::test]
async fn five_masters_start_as_three_and_two() {
    let members = [
        ("a-1", "eu-west-2a"),
        ("a-2", "eu-west-2a"),
        ("b-1", "eu-west-2b"),
        ("b-2", "eu-west-2b"),
        ("c-1", "eu-west-2c"),
    ];
    let kops = Kops::new(CLUSTER).members(&members);
    let seeded = RestoreBed::of(kops.etcd_clusters(&["main"])).await;
    for newest in ["a-2", "c-1"] {
        let bed = seeded.fork().await;
        make_newest(&bed, &format!("main/{newest}")).await;
        let done = bed.done(replace()).await;
        assert!(strings(&done["start_first"]).contains(&format!("main/{newest}")));
        let waves = waves(&bed).await;
        assert_eq!((waves.first.len(), waves.second.len()), (3, 2));
        assert!(
            waves.first.contains(group_of(&bed, newest)),
            "{:?}",
            waves.first
        );
    }
}

/// In a zone with several masters each takes whichever volume it finds first: the group of the newest
/// member need not be the one that mounts it, but all that could are among the first.
#[tokio::test]
async fn masters_that_share_a_zone_may_take_each_others_volumes() {
    let members = [
        ("a-1", "eu-west-2a"),
        ("a-2", "eu-west-2a"),
        ("b-1", "eu-west-2b"),
    ];
    let kops = Kops::new(CLUSTER).members(&members);
    let bed = RestoreBed::of(kops.etcd_clusters(&["main"])).await;
    make_newest(&bed, "main/a-2").await;
    let done = bed.done(replace()).await;
    let newest = answered_volumes(&done)["main/a-2"].clone();
    let events = bed.aws.master_events().await;
    let mut attached = events
        .iter()
        .filter(|event| event.event == MasterDid::Attached);
    let first: BTreeSet<_> = attached
        .by_ref()
        .take(2)
        .filter_map(|event| event.volume.clone())
        .collect();
    assert!(
        first.contains(&newest),
        "among the first two attached: {first:?}"
    );
}

#[tokio::test]
async fn each_of_three_etcd_clusters_has_its_newest_member_among_the_first() {
    let kops = Kops::new(CLUSTER).etcd_clusters(&["main", "events", "cilium"]);
    let newer = Style::New {
        control_plane: true,
    };
    let bed = RestoreBed::of(kops.style(newer)).await;
    // Two masters have the newest of all three between them.
    for newest in ["main/b", "events/c", "cilium/b"] {
        make_newest(&bed, newest).await;
    }
    let done = bed.done(replace()).await;
    let first = strings(&done["start_first"]);
    for newest in ["main/b", "events/c", "cilium/b"] {
        assert!(first.contains(&newest.to_owned()), "{first:?}");
    }
    let waves = waves(&bed).await;
    let expected = ["b", "c"].map(|member| group_of(&bed, member).clone());
    assert_eq!(waves.first, expected.into());
    assert_eq!(waves.second, [group_of(&bed, "a").clone()].into());
}

/// Three newest on three masters don't fit into a quorum of two: `main` comes first, and it is said.
#[tokio::test]
async fn main_comes_first_where_not_all_newest_members_can() {
    let kops = Kops::new(CLUSTER).etcd_clusters(&["main", "events", "cilium"]);
    let bed = RestoreBed::of(kops).await;
    for newest in ["main/a", "events/b", "cilium/c"] {
        make_newest(&bed, newest).await;
    }
    let done = bed.done(replace()).await;
    let waves = waves(&bed).await;
    assert!(
        waves.first.contains(group_of(&bed, "a")),
        "{:?}",
        waves.first
    );
    assert!(waves.first.len() >= 2);
    let first = strings(&done["start_first"]);
    assert!(first.contains(&"main/a".to_owned()), "{first:?}");
}

#[tokio::test]
async fn together_starts_all_at_once_and_warns() {
    let bed = RestoreBed::small().await;
    let together = json!({"masters": "replace", "start": "together"});
    let done = bed.done(together).await;
    let waves = waves(&bed).await;
    assert_eq!((waves.first.len(), waves.second.len()), (3, 0));
    assert_ne!(done["warnings"], json!([]), "{done}");
}

/// One group holds masters of both waves.
#[tokio::test]
async fn a_group_of_all_masters_starts_at_once_with_a_warning() {
    let fleets = e2e::kops_fleets::kops_fleets();
    let has_one_group = |fleet: &&e2e::kops_fleets::KopsFleet| {
        let masters = fleet.groups.iter().filter(|group| group.is_control_plane());
        let sizes: Vec<_> = masters.map(|group| group.size).collect();
        sizes.len() == 1 && sizes[0] > 1
    };
    let Some(fleet) = fleets.iter().find(has_one_group) else {
        return; // No kops golden has such a group.
    };
    let aws = e2e::EmulatedAws::start().await;
    let cluster = fleet.seed(&aws).await;
    e2e::backed_up::back_up_once(&aws).await;
    let bed = RestoreBed::new(aws, cluster, Vec::new()).await;
    let done = bed.done(replace()).await;
    assert_ne!(done["warnings"], json!([]), "{done}");
}

#[tokio::test]
async fn an_invocation_that_ends_between_the_waves_is_gone_on_with() {
    let bed = RestoreBed::small().await;
    // Time stands still: the first masters' volumes never were attached for long.
    let started = bed
        .stopped_by_time(replace(), "starting", Duration::from_secs(25))
        .await;
    let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
    assert_eq!(suspended.len(), 1);
    assert_eq!(started["masters"]["suspended"], json!(suspended));
    let status = bed.ask(json!({"action": "status"})).await;
    assert_eq!(status["phase"], "starting");
    assert_eq!(status["start_first"], started["start_first"]);
    bed.refused(
        json!({"again": true, "masters": "leave"}),
        "RestoreInProgress",
    )
    .await;
    let instances: BTreeSet<InstanceId> = bed.instances().await;
    assert_eq!(instances.len(), 2);
    let done = bed.done(replace()).await;
    assert_eq!(done["restore_id"], started["restore_id"]);
    assert!(
        bed.instances().await.is_superset(&instances),
        "the first were left alone"
    );
    bed.assert_resumed().await;
}

#[tokio::test]
async fn an_undo_between_the_waves_brings_all_back() {
    let bed = RestoreBed::small().await;
    bed.stopped_by_time(replace(), "starting", Duration::from_secs(25))
        .await;
    bed.undone(replace()).await;
    bed.assert_resumed().await;
    assert_eq!(bed.instances().await.len(), 3);
}

/// An undo brings back volumes that stopped together: no order; a redo's order is the restore's.
#[tokio::test]
async fn an_undo_starts_all_at_once_and_a_redo_as_the_restore() {
    let bed = RestoreBed::small().await;
    let done = bed.done(replace()).await;
    bed.aws.forget_master_events().await;
    let undone = bed.undone(replace()).await;
    assert_eq!(undone["start_first"], json!([]));
    let all = waves(&bed).await;
    assert_eq!((all.first.len(), all.second.len()), (3, 0));
    bed.aws.forget_master_events().await;
    let redone = bed
        .done(json!({"action": "redo", "masters": "replace"}))
        .await;
    assert_eq!(redone["start_first"], done["start_first"]);
    let ordered = waves(&bed).await;
    assert_eq!((ordered.first.len(), ordered.second.len()), (2, 1));
}

/// With `leave` the order is given as commands: all masters stop at once, the first come, then the rest.
#[tokio::test]
async fn leave_tells_the_order_as_commands() {
    let bed = RestoreBed::small().await;
    make_newest(&bed, "main/a").await;
    let done = bed.done(json!({})).await;
    let first = strings(&done["start_first"]);
    assert!(first.contains(&"main/a".to_owned()), "{first:?}");
    let steps = strings(&done["next_steps"]).join("\n");
    let at = |text: &str| {
        steps
            .find(text)
            .unwrap_or_else(|| panic!("{text} is not in {steps}"))
    };
    let resumed = |group: &String| {
        let mut resumes = steps.match_indices("resume-processes");
        let found = resumes.find(|(at, _)| {
            steps[*at..]
                .lines()
                .next()
                .is_some_and(|line| line.contains(group.as_str()))
        });
        found
            .unwrap_or_else(|| panic!("{group} is not resumed in {steps}"))
            .0
    };
    // The second wave's launches are held while all masters go, and go on at the end.
    let is_first = |member: &&&str| first.contains(&format!("main/{member}"));
    let (early, late): (Vec<&str>, Vec<&str>) = ["a", "b", "c"].iter().partition(is_first);
    assert_eq!((early.len(), late.len()), (2, 1));
    let held = group_of(&bed, late[0]);
    let suspended = at(&format!("--auto-scaling-group-name {held}"));
    assert!(at("suspend-processes") < suspended);
    assert!(suspended < at("terminate-instances"));
    assert!(at("terminate-instances") < resumed(held));
    for master in &bed.cluster.masters {
        assert!(steps.contains(master.instance.as_str()), "{steps}");
    }
}
