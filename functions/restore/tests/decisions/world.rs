//! A clean example: a cluster of three masters with two etcd clusters, its last runs' snapshots, and no
//! restore yet. Each test breaks one thing.

use std::collections::BTreeMap;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{InstanceState, Master, MasterGroup};
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::discovery::Identity;
use etcd_backup_core::fleet::Fleet;
use etcd_backup_core::ids::{MemberKey, VolumeId, ZoneName};
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::restore_record::{Direction, LAYOUT, RestoreRecord};
use etcd_backup_core::restore_table::{StoredRecord, Token};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::{Attachment, Performance, Volume, VolumeState};
use jiff::{SignedDuration, Timestamp};
use restore::collect::control_plane::ControlPlane;
use restore::collect::inventory::Inventory;
use restore::collect::records::{KnownRecord, Records};
use restore::decide::stage::{self, StageInput, Step};
use restore::decide::{self, Context, Decision};
use restore::event::Request;
use serde_json::{Value, json};

pub const CLUSTER: &str = "k8s.mycompany.tld";
pub const REGION: &str = "eu-west-2";
/// Half an hour after the last run was complete.
pub const NOW: &str = "2026-11-22T08:00:00Z";
const RUNS: [&str; 2] = ["2026-11-21T06:00:00Z", "2026-11-22T06:00:00Z"];
pub const MEMBERS: [&str; 6] = [
    "events/a", "events/b", "events/c", "main/a", "main/b", "main/c",
];

/// All that a decision depends on.
#[derive(Clone, Debug)]
pub struct World {
    pub volumes: BTreeMap<VolumeId, Volume>,
    pub snapshots: Vec<Snapshot>,
    pub control_plane: ControlPlane,
    pub zones: Vec<ZoneName>,
    pub records: Records,
    pub settings: Settings,
    pub now: Timestamp,
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn zone(key: &MemberKey) -> ZoneName {
    format!("{REGION}{}", key.member).as_str().into()
}

/// `vol-main-a` is the volume of `main/a`.
pub fn volume_id(key: &str) -> VolumeId {
    format!("vol-{}", key.replace('/', "-")).as_str().into()
}

pub fn tags(key: &MemberKey) -> Tags {
    [
        ("KubernetesCluster".to_owned(), CLUSTER.to_owned()),
        (
            format!("kubernetes.io/cluster/{CLUSTER}"),
            "owned".to_owned(),
        ),
        (
            format!("k8s.io/etcd/{}", key.etcd_cluster),
            format!("{}/a,b,c", key.member),
        ),
        ("k8s.io/role/master".to_owned(), "1".to_owned()),
        ("k8s.io/role/control-plane".to_owned(), "1".to_owned()),
        (
            "Name".to_owned(),
            format!("{}.etcd-{}.{CLUSTER}", key.member, key.etcd_cluster),
        ),
        ("owner".to_owned(), "platform".to_owned()),
    ]
    .into()
}

pub fn volume(id: &str, zone: &ZoneName, tags: Tags) -> Volume {
    Volume {
        id: id.into(),
        state: VolumeState::Available,
        created: time("2025-01-01T00:00:00Z"),
        zone: zone.clone(),
        size_gib: 20,
        performance: Performance {
            volume_type: "gp3".to_owned(),
            iops: Some(3_000),
            throughput: Some(125),
        },
        encrypted: true,
        kms_key_id: Some("arn:aws:kms:eu-west-2:123456789012:key/1".into()),
        made_from: None,
        attachments: Vec::new(),
        tags,
    }
}

/// Who pastes a command may have another Region as the default.
pub fn commands_name_the_region(text: &str) {
    let named = format!("--region {REGION} ");
    for command in text.split("aws ").skip(1) {
        assert!(command.contains(&named), "aws {command}");
    }
}

impl World {
    pub fn new() -> Self {
        let keys = MEMBERS.map(|key| key.parse::<MemberKey>().unwrap());
        let mut world = Self {
            volumes: BTreeMap::new(),
            snapshots: Vec::new(),
            control_plane: ControlPlane::default(),
            zones: ["a", "b", "c"]
                .map(|letter| format!("{REGION}{letter}").as_str().into())
                .into(),
            records: Records::default(),
            settings: Settings::from_variables(&|_| None).unwrap(),
            now: time(NOW),
        };
        for key in &keys {
            let id = volume_id(&key.to_string());
            let mut volume = volume(id.as_str(), &zone(key), tags(key));
            volume.state = VolumeState::InUse;
            volume.attachments = vec![attachment(&format!("i-{}", key.member))];
            world.volumes.insert(id, volume);
        }
        for run in RUNS {
            for (second, key) in keys.iter().enumerate() {
                let second = 180 + i64::try_from(second).unwrap();
                world.snapshots.push(snapshot(key, time(run), second));
            }
        }
        for letter in ["a", "b", "c"] {
            world.add_master(letter);
        }
        world
    }

    fn add_master(&mut self, letter: &str) {
        let zone: ZoneName = format!("{REGION}{letter}").as_str().into();
        self.control_plane.masters.push(Master {
            id: format!("i-{letter}").as_str().into(),
            zone: zone.clone(),
            state: InstanceState::Running,
        });
        self.control_plane.groups.push(MasterGroup {
            name: format!("master-{letter}").as_str().into(),
            zones: vec![zone],
            desired_size: 1,
            instances: vec![format!("i-{letter}").as_str().into()],
            launching: Vec::new(),
            launches_suspended: false,
            suspended_by: None,
            tags: Tags::new(),
        });
    }

    pub fn volume(&mut self, key: &str) -> &mut Volume {
        self.volumes.get_mut(&volume_id(key)).unwrap()
    }

    pub fn snapshots_of_last_run(&mut self) -> impl Iterator<Item = &mut Snapshot> {
        let last = time(RUNS[1]);
        self.snapshots
            .iter_mut()
            .filter(move |snapshot| snapshot.started >= last)
    }

    pub fn terminate_masters(&mut self) {
        for master in &mut self.control_plane.masters {
            master.state = InstanceState::Terminated;
        }
        for group in &mut self.control_plane.groups {
            group.instances.clear();
        }
        for volume in self.volumes.values_mut() {
            volume.attachments.clear();
        }
    }

    pub fn inventory(&self, request: &Request) -> Inventory {
        let makers = Makers::new([], &[], &self.settings);
        let volumes = self.volumes.values().cloned().collect();
        let mut fleet = Fleet::new(volumes, self.snapshots.clone(), &makers);
        let cluster = CLUSTER.into();
        let named = request.snapshots.iter().flatten();
        let unfinished = self.records.all().filter(|record| record.is_unfinished());
        let recorded = unfinished.flat_map(|record| record.members.values());
        let recorded = recorded.map(|member| member.snapshot.id.clone());
        let named: Vec<_> = named.map(|(_, id)| id.clone()).chain(recorded).collect();
        let named_snapshots = self
            .snapshots
            .iter()
            .filter(|snapshot| named.contains(&snapshot.id));
        Inventory {
            volumes: self.volumes.clone(),
            named_volumes: BTreeMap::new(),
            cluster: fleet.clusters.remove(&cluster).unwrap_or_default(),
            unidentified_volumes: fleet
                .unidentified_volumes
                .remove(&Some(cluster))
                .unwrap_or_default(),
            named_snapshots: named_snapshots
                .map(|snapshot| (snapshot.id.clone(), snapshot.clone()))
                .collect(),
            control_plane: self.control_plane.clone(),
            zone_evidence: self.control_plane.zone_evidence(self.zones.clone()),
        }
    }

    pub fn context(&self) -> Context<'_> {
        Context {
            settings: &self.settings,
            region: REGION,
            now: self.now,
        }
    }

    /// What is decided about an event, given what is said beside the cluster.
    pub fn decide(&self, more: Value) -> Result<Decided, Diagnostic> {
        let request = request(more);
        let inventory = self.inventory(&request);
        let decision = decide::decide(&request, &self.records, &inventory, self.context())?;
        Ok(match decision {
            Decision::Begin(record) => Decided::Begin(*record),
            Decision::Turn(_, record) => Decided::Turn(*record),
            Decision::GoOn(_, record) => Decided::GoOn(*record),
            Decision::Repeat(_) => Decided::Repeat,
        })
    }

    /// The record of the restore that an event begins.
    pub fn begin(&self, more: Value) -> RestoreRecord {
        match self.decide(more) {
            Ok(Decided::Begin(record) | Decided::Turn(record)) => record,
            other => panic!("{other:?}"),
        }
    }

    /// What an event is refused for.
    pub fn refusal(&self, more: Value) -> String {
        match self.decide(more) {
            Err(refusal) => {
                let refusal = refusal.to_string();
                commands_name_the_region(&refusal);
                refusal
            }
            Ok(decided) => panic!("it is not refused: {decided:?}"),
        }
    }

    /// Puts a record into the table, as the newest or in its own place.
    pub fn record(&mut self, record: RestoreRecord) {
        let known = &mut self.records.0;
        let place = known.iter().position(|known| known.record.id == record.id);
        let number = match place {
            Some(place) => known.remove(place).stored.number,
            None => self.records.next_number(),
        };
        let stored = StoredRecord {
            number,
            token: Token::from(format!("{number:?}")),
            layout: LAYOUT,
            body: record.body().unwrap(),
        };
        let read = RestoreRecord::read(&stored).unwrap();
        let known = KnownRecord {
            stored,
            record: read,
        };
        self.records.0.insert(place.unwrap_or(0), known);
    }

    pub fn next(&self, record: &RestoreRecord) -> Step {
        stage::next(
            record,
            StageInput {
                volumes: &self.volumes,
                control_plane: &self.control_plane,
                seen_attached: &BTreeMap::new(),
                settings: &self.settings,
                now: self.now,
            },
        )
    }

    /// Does what a step asks for, as AWS would: all of it at once.
    pub fn does(&mut self, step: &Step, record: &mut RestoreRecord) {
        match step {
            Step::Create(keys) => {
                for key in keys {
                    self.make(record, key);
                }
            }
            Step::Suspend(groups) => {
                record.suspended_groups.extend(groups.iter().cloned());
                for group in &mut self.control_plane.groups {
                    group.launches_suspended |= groups.contains(&group.name);
                    group.suspended_by = Some(record.id.clone());
                }
            }
            Step::Terminate(instances) => {
                record.turn_mut().name_terminated(instances);
                self.terminate_masters();
            }
            Step::Retire(removals) => {
                for removal in removals {
                    let tags = &mut self.volumes.get_mut(&removal.volume).unwrap().tags;
                    tags.extend(removal.journal_before.clone());
                    tags.retain(|key, _| !removal.keys.contains(key));
                    tags.extend(removal.journal_after.clone());
                }
            }
            Step::Clear(journals) => {
                for (volume, keys) in journals {
                    let tags = &mut self.volumes.get_mut(volume).unwrap().tags;
                    tags.retain(|key, _| !keys.contains(key));
                }
            }
            Step::Tag(tags) => {
                for (volume, tags) in tags {
                    let volume = self.volumes.get_mut(volume).unwrap();
                    volume.tags.extend(tags.clone());
                }
            }
            Step::Resume(groups) => self.resume(record, groups),
            Step::WaitForFirst(_) => self.now += SignedDuration::from_secs(180),
            Step::Finish => {
                record.turn_mut().end(self.now);
                record.suspended_groups.clear();
            }
            Step::WaitForVolumes | Step::WaitForMasters => panic!("nothing takes time here"),
        }
    }

    fn make(&mut self, record: &mut RestoreRecord, key: &MemberKey) {
        let tags = decide::restore::tags_at_creation(record, key);
        let member = record.members.get_mut(key).unwrap();
        let id = format!("vol-{}-{}-{}", record.id, key.etcd_cluster, key.member);
        let mut volume = volume(&id, &member.incoming.zone, tags);
        volume.made_from = Some(member.snapshot.id.clone());
        volume.created = self.now;
        member.incoming.volume_id = Some(volume.id.clone());
        self.volumes.insert(volume.id.clone(), volume);
    }

    /// Makes all of a record's volumes.
    pub fn make_for_test(&mut self, record: &mut RestoreRecord) {
        let keys: Vec<MemberKey> = record.members.keys().cloned().collect();
        for key in keys {
            self.make(record, &key);
        }
    }

    /// Groups launch masters, which attach what they find in their zone.
    fn resume(&mut self, record: &RestoreRecord, groups: &[etcd_backup_core::ids::GroupName]) {
        for group in &mut self.control_plane.groups {
            if !groups.contains(&group.name) {
                continue;
            }
            group.launches_suspended = false;
            group.suspended_by = None;
            let master = Master {
                id: format!("i-{}-new", group.name).as_str().into(),
                zone: group.zones[0].clone(),
                state: InstanceState::Running,
            };
            group.instances = vec![master.id.clone()];
            for volume in self.volumes.values_mut() {
                let is_found = record.etcd_clusters().any(|name| {
                    decide::masters_find::is_found(&record.cluster, name, &volume.tags)
                });
                if is_found && volume.zone == master.zone {
                    let mut attached = attachment(master.id.as_str());
                    attached.attached_at = Some(self.now);
                    volume.attachments = vec![attached];
                }
            }
            self.control_plane.masters.push(master);
        }
    }

    /// Carries a record's last turn out; gives the steps.
    pub fn carry_out(&mut self, record: &mut RestoreRecord) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..50 {
            let step = self.next(record);
            self.does(&step, record);
            steps.push(step);
            if steps.last() == Some(&Step::Finish) {
                self.record(record.clone());
                return steps;
            }
        }
        panic!("it never ends: {steps:?}");
    }

    /// A restore that is done, the masters left alone and gone.
    pub fn restored() -> (Self, RestoreRecord) {
        let mut world = Self::new();
        world.terminate_masters();
        let mut record = world.begin(json!({}));
        world.carry_out(&mut record);
        (world, record)
    }

    /// A restore that replaces masters, whose first ones have been let come, and wait for three minutes.
    pub fn with_first_masters() -> (Self, RestoreRecord) {
        let mut world = Self::new();
        let mut record = world.begin(json!({"masters": "replace"}));
        loop {
            let step = world.next(&record);
            let stage = step.stage(Direction::Restore);
            record.turn_mut().enter(stage, world.now);
            if matches!(step, Step::WaitForFirst(_)) {
                world.record(record.clone());
                return (world, record);
            }
            world.does(&step, &mut record);
        }
    }

    /// The ids of the volumes that masters find, by member.
    pub fn found(&self) -> BTreeMap<MemberKey, Vec<VolumeId>> {
        let keys: Vec<MemberKey> = MEMBERS.iter().map(|key| key.parse().unwrap()).collect();
        let members = keys.iter().map(|key| (key, None));
        decide::masters_find::MastersFind::new(&CLUSTER.into(), members, &self.volumes).0
    }

    /// Whether each group may launch masters.
    pub fn are_launches_resumed(&self) -> bool {
        let mut groups = self.control_plane.groups.iter();
        groups.all(|group| !group.launches_suspended)
    }
}

pub fn attachment(instance: &str) -> Attachment {
    Attachment {
        instance: instance.into(),
        device: "/dev/xvdu".to_owned(),
        attached_at: None,
        delete_on_termination: false,
    }
}

fn snapshot(key: &MemberKey, run: Timestamp, second: i64) -> Snapshot {
    let mut tags = tags(key);
    tags.insert("SnapshotCreator".to_owned(), "DLM".to_owned());
    let id = format!("snap-{}-{}-{run:.0}", key.etcd_cluster, key.member);
    assert!(matches!(Identity::of(&tags), Some(Ok(_))));
    Snapshot {
        id: id.as_str().into(),
        volume_id: volume_id(&key.to_string()),
        state: SnapshotState::Completed,
        state_message: None,
        started: run + SignedDuration::from_secs(second),
        completed_after_seconds: None,
        size_gib: 20,
        encrypted: true,
        kms_key_id: Some("arn:aws:kms:eu-west-2:123456789012:key/1".into()),
        archived: false,
        tags,
    }
}

pub fn request(more: Value) -> Request {
    let mut event = json!({"cluster": CLUSTER});
    let more = more.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(more);
    Request::decode(&event).unwrap()
}

/// What was decided, owned.
#[derive(Clone, Debug)]
pub enum Decided {
    Begin(RestoreRecord),
    Turn(RestoreRecord),
    GoOn(RestoreRecord),
    Repeat,
}

impl Decided {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Turn(_) => "turn",
            Self::GoOn(_) => "go on",
            Self::Repeat => "repeat",
        }
    }
}
