//! Random accounts: whatever is in them, nothing that the audit says names a snapshot that isn't ours.

use std::collections::BTreeMap;

use audit::alert::alert;
use audit::event::{Appearance, Request};
use audit::inventory::Inventory;
use audit::report::Report;
use audit::widget;
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, PolicyState};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::Volume;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::select;

use crate::world::{
    CLUSTER, NOW, account_of, add_other_policy, at, other_policy, root_volume, schedule,
    settings_with, snapshot, tags, volume,
};

const OURS: &str = "Daily 2 week etcd snapshots";
const THEIRS: [&str; 2] = ["policy-0theirs", "policy-0asleep"];

/// What a snapshot says of who made it.
#[derive(Clone, Debug)]
struct Marks {
    policy: Option<&'static str>,
    schedule: Option<&'static str>,
    has_added_tag: bool,
    by_aws_backup: bool,
}

fn marks() -> impl Strategy<Value = Marks> {
    let policies = ["policy-0abc", "policy-0twin", "policy-0gone"];
    let policies = policies.into_iter().chain(THEIRS).map(Some);
    let policies: Vec<_> = policies.chain([None]).collect();
    let schedules = vec![
        Some(OURS),
        Some("weekly"),
        Some("Former"),
        Some("Theirs"),
        None,
    ];
    let marks = (
        select(policies),
        select(schedules),
        any::<bool>(),
        prop::bool::weighted(0.2),
    );
    marks.prop_map(|(policy, schedule, has_added_tag, by_aws_backup)| Marks {
        policy,
        schedule,
        has_added_tag,
        by_aws_backup,
    })
}

impl Marks {
    /// Who reads these marks says that it is surely not ours.
    fn are_a_strangers(&self) -> bool {
        match self.policy {
            Some(id) => THEIRS.contains(&id),
            None => self.by_aws_backup,
        }
    }

    fn put_on(&self, snapshot: &mut Snapshot) {
        let tags = &mut snapshot.tags;
        tags.retain(|key, _| !key.starts_with("aws:dlm:") && key != "SnapshotCreator");
        let mut put = |key: &str, value: &str| tags.insert(key.to_owned(), value.to_owned());
        if let Some(id) = self.policy {
            put("aws:dlm:lifecycle-policy-id", id);
        }
        if let Some(name) = self.schedule {
            put("aws:dlm:lifecycle-schedule-name", name);
        }
        if self.has_added_tag {
            put("SnapshotCreator", "DLM");
        }
        if self.by_aws_backup {
            put("aws:backup:source-resource", "arn");
        }
    }
}

/// What is there of a volume that was or is somebody's.
#[derive(Clone, Debug)]
struct Fate {
    exists: bool,
    made_days_ago: i64,
    lost_tag: Option<&'static str>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let lost = [
        None,
        None,
        None,
        Some("k8s.io/role/master"),
        Some("KubernetesCluster"),
        Some("Name"),
    ];
    let fate = (prop::bool::weighted(0.7), 0..60_i64, select(lost.to_vec()));
    fate.prop_map(|(exists, made_days_ago, lost_tag)| Fate {
        exists,
        made_days_ago,
        lost_tag,
    })
}

/// A snapshot of one of the volumes, or of one that nobody knows, or a copy.
#[derive(Clone, Debug)]
struct Taken {
    of: usize,
    days_ago: i64,
    state: SnapshotState,
    has_volumes_tags: bool,
    is_copy: bool,
    marks: Marks,
}

fn taken(volumes: usize) -> impl Strategy<Value = Taken> {
    let states = vec![
        SnapshotState::Completed,
        SnapshotState::Completed,
        SnapshotState::Pending,
        SnapshotState::Error,
    ];
    let taken = (
        0..volumes,
        0..45_i64,
        select(states),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.1),
        marks(),
    );
    taken.prop_map(
        |(of, days_ago, state, has_volumes_tags, is_copy, marks)| Taken {
            of,
            days_ago,
            state,
            has_volumes_tags,
            is_copy,
            marks,
        },
    )
}

/// A random account, and how it is asked.
#[derive(Clone, Debug)]
struct World {
    inventory: Inventory,
    settings: Settings,
    request: Request,
    taken: Vec<Taken>,
}

fn all_volumes() -> Vec<Volume> {
    let members = ["a", "b", "c"];
    let of = |etcd_cluster| members.map(|member| volume(etcd_cluster, member));
    let replaced = Volume {
        id: "vol-1-main-a".into(),
        ..volume("main", "a")
    };
    let unknown = Volume {
        id: "vol-unknown".into(),
        tags: tags(&[("team", "tools")]),
        ..volume("main", "a")
    };
    let mut volumes = [of("main"), of("events")].concat();
    volumes.extend([replaced, root_volume("vol-root"), unknown]);
    volumes
}

fn world() -> impl Strategy<Value = World> {
    let count = all_volumes().len();
    (
        prop::collection::vec(fate(), count),
        prop::collection::vec(taken(count), 0..60),
        select(vec!["24", "6"]),
        select(vec!["SnapshotCreator=DLM", ""]),
        select(vec![PolicyState::Enabled, PolicyState::Error]),
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(fates, taken, interval, added, state, [has_ours, has_twin, asks])| {
                let variables = [("INTERVAL_HOURS", interval), ("TAGS_TO_ADD", added)];
                let mut inventory = account_of(existing(&fates));
                put_policies(&mut inventory, state, has_ours, has_twin);
                let snapshots = taken.iter().enumerate();
                inventory.snapshots = snapshots.map(|(index, taken)| made(index, taken)).collect();
                World {
                    inventory,
                    settings: settings_with(&variables),
                    request: Request {
                        now: None,
                        clusters: asks.then(|| vec![CLUSTER.into()]),
                    },
                    taken,
                }
            },
        )
}

fn existing(fates: &[Fate]) -> Vec<Volume> {
    let volumes = all_volumes().into_iter().zip(fates);
    let existing = volumes.filter(|(_, fate)| fate.exists);
    existing
        .map(|(mut volume, fate)| {
            volume.created = at(NOW) - SignedDuration::from_hours(24 * fate.made_days_ago);
            volume
                .tags
                .retain(|key, _| Some(key.as_str()) != fate.lost_tag);
            volume
        })
        .collect()
}

fn put_policies(inventory: &mut Inventory, state: PolicyState, has_ours: bool, has_twin: bool) {
    let ours = &mut inventory.policies[0];
    ours.state = state;
    ours.definition.schedules.push(schedule("weekly", 4));
    if has_twin {
        let twin = LifecyclePolicy {
            id: "policy-0twin".into(),
            ..ours.clone()
        };
        inventory.policy_ids.insert(twin.id.clone());
        inventory.policies.push(twin);
    }
    if !has_ours {
        let gone = inventory.policies.remove(0);
        inventory.policy_ids.remove(&gone.id);
    }
    let target = [("KubernetesCluster", CLUSTER)];
    add_other_policy(inventory, other_policy(THEIRS[0], "VOLUME", &target));
    // Of a policy that isn't enabled nothing but its id is known.
    inventory.policy_ids.insert(THEIRS[1].into());
}

fn made(index: usize, taken: &Taken) -> Snapshot {
    let mut snapshot = snapshot(&all_volumes()[taken.of], taken.days_ago);
    snapshot.id = format!("snap-{index:06}").into();
    // No two at once, so that there is one last of each member.
    snapshot.started -= SignedDuration::from_secs(i64::try_from(index).unwrap());
    snapshot.state = taken.state;
    if !taken.has_volumes_tags {
        snapshot.tags.clear();
    }
    if taken.is_copy {
        snapshot.volume_id = "vol-ffffffff".into();
    }
    taken.marks.put_on(&mut snapshot);
    snapshot
}

impl World {
    fn report(&self) -> Report {
        let inventory = self.inventory.clone();
        Report::new(inventory, &self.settings, &self.request, at(NOW))
    }

    /// All that people and programs are told.
    fn told(&self) -> String {
        let report = self.report();
        let arn = "arn:aws:lambda:eu-west-2:123456789012:function:audit";
        let deployment = Deployment::of_function(arn).unwrap();
        let body = alert(&report, &self.settings, &deployment).map(|alert| alert.body);
        let appearance = Appearance::default();
        let widget = widget::answer(
            &self.inventory,
            &self.settings,
            &self.request,
            appearance,
            at(NOW),
        );
        let json = serde_json::to_string(&report).unwrap();
        [json, report.to_string(), body.unwrap_or_default(), widget].concat()
    }

    /// The commands of all findings.
    fn commands(&self) -> String {
        let findings = serde_json::to_value(&self.report().findings).unwrap();
        let evidence = findings
            .as_array()
            .unwrap()
            .iter()
            .map(|of| &of["evidence"]);
        let commands = evidence.flat_map(|of| [&of["commands"], &of["root_volumes"]["commands"]]);
        commands.map(|of| of.to_string()).collect()
    }

    /// The last snapshot of each member that is certainly ours.
    fn last_of_members(&self) -> BTreeMap<&str, &Snapshot> {
        let mut last: BTreeMap<&str, &Snapshot> = BTreeMap::new();
        for (snapshot, taken) in self.inventory.snapshots.iter().zip(&self.taken) {
            let name = snapshot
                .tags
                .get("Name")
                .filter(|name| name.contains(".etcd-"));
            let has_ended = snapshot.started <= at(NOW);
            let Some(name) = name.filter(|_| has_ended && !taken.is_copy) else {
                continue;
            };
            if taken.marks.are_a_strangers() || self.is_doubtful(&taken.marks) {
                continue;
            }
            let newest = last.entry(name).or_insert(snapshot);
            if newest.started < snapshot.started {
                *newest = snapshot;
            }
        }
        last
    }

    /// Marks of which it takes the rules of the product to tell whose they are.
    fn is_doubtful(&self, marks: &Marks) -> bool {
        let mut ours = self.inventory.policies.iter();
        let by_ours = ours.any(|policy| Some(policy.id.as_str()) == marks.policy);
        !(by_ours && marks.schedule == Some(OURS))
    }
}

proptest! {
    #[test]
    fn no_snapshot_of_somebody_elses_is_ever_named(world in world()) {
        let told = world.told();
        for (snapshot, taken) in world.inventory.snapshots.iter().zip(&world.taken) {
            let is_ours = !taken.is_copy && !taken.marks.are_a_strangers();
            let is_named = told.contains(snapshot.id.as_str());
            prop_assert!(is_ours || !is_named, "{}: {:?}", snapshot.id, taken);
        }
    }

    #[test]
    fn no_command_deletes_the_last_snapshot_of_a_member(world in world()) {
        let commands = world.commands();
        for (name, last) in world.last_of_members() {
            // What DLM left of a strange schedule later may be a member's last one instead.
            let is_named = commands.contains(last.id.as_str());
            prop_assert!(!is_named || world.has_newer(name, last), "{name}: {}", last.id);
        }
    }
}

impl World {
    /// Whether a newer snapshot carries the member's name, or none but is of a volume that tells which
    /// member it is; whosever it is.
    fn has_newer(&self, name: &str, than: &Snapshot) -> bool {
        let of_member: Vec<_> = all_volumes()
            .into_iter()
            .filter(|volume| volume.tags.get("Name").map(String::as_str) == Some(name))
            .map(|volume| volume.id)
            .filter(|id| self.inventory.volumes.iter().any(|of| of.id == *id))
            .collect();
        let mut snapshots = self.inventory.snapshots.iter();
        snapshots.any(|of| match of.tags.get("Name") {
            _ if of.started <= than.started => false,
            Some(named) => named == name,
            None => of_member.contains(&of.volume_id),
        })
    }
}
