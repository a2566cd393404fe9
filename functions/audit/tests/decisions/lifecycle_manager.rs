//! What Lifecycle Manager leaves in an account as time goes by, told step by step.
//!
//! It shares no rule with the audit: runs are found by walking minute by minute, snapshots are counted
//! and deleted one by one.

use audit::inventory::Inventory;
use etcd_backup_core::lifecycle_policy::LifecyclePolicy;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;
use jiff::{SignedDuration, Timestamp};

use crate::world::{
    POLICY, account_of, add_other_policy, other_policy, schedule, snapshot, tags, volume,
};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// The other team's policy.
const THEIRS: &str = "policy-0theirs";

/// An account with its policies, at a moment.
pub struct Account {
    /// The settings that converge put into the policy last.
    pub settings: Settings,
    /// What the audit reads.
    pub inventory: Inventory,
    now: Timestamp,
    /// How long after its time a run's snapshots are started.
    late: SignedDuration,
    /// Runs from before this were the policy's as it was then, and aren't made up for.
    changed: Timestamp,
    has_neighbours: bool,
    /// The volume that the next run leaves out.
    skipped: Option<String>,
    made: usize,
}

impl Account {
    /// Two members of one etcd cluster, whose policy was made at `now`.
    pub fn new(settings: Settings, now: Timestamp, late: SignedDuration) -> Self {
        let mut volumes = [volume("main", "a"), volume("main", "b")];
        for (of, minutes) in volumes.iter_mut().zip([90, 100]) {
            of.created = now - MINUTE * minutes;
            let key = "k8s.io/etcd/main".to_owned();
            let member = of.zone.as_str().trim_start_matches("eu-west-2").to_owned();
            of.tags.insert(key, format!("{member}/a,b"));
        }
        let mut account = Self {
            inventory: account_of(volumes.into()),
            settings: settings.clone(),
            now,
            late,
            changed: now,
            has_neighbours: false,
            skipped: None,
            made: 0,
        };
        account.policy_mut().created = now;
        account.converge(settings);
        account
    }

    /// The same beside another team's policy that adds our tag and takes the same volumes, and beside
    /// AWS Backup, which copies that tag from volumes that somebody restored by hand.
    pub fn with_neighbours(mut self) -> Self {
        let target = [("KubernetesCluster", crate::world::CLUSTER)];
        let policy = other_policy(THEIRS, "VOLUME", &target);
        add_other_policy(&mut self.inventory, policy);
        for volume in &mut self.inventory.volumes {
            volume.tags.extend(tags(&[("SnapshotCreator", "DLM")]));
        }
        self.has_neighbours = true;
        self
    }

    /// The emulated time, in the middle of a minute: what was taken in this minute has begun.
    pub fn now(&self) -> Timestamp {
        self.now + SignedDuration::from_secs(30)
    }

    /// converge puts other settings into the policy.
    pub fn converge(&mut self, settings: Settings) {
        let now = self.now;
        let policy = self.policy_mut();
        let mut of_settings = schedule(&settings.schedule_name, settings.retain_count);
        of_settings.create.interval_hours = Some(settings.schedule.interval_hours);
        of_settings.create.times = vec![settings.schedule.start_time.to_string()];
        policy.definition.schedules = vec![of_settings];
        policy.modified = Some(now);
        let since = "etcd-backup/schedule-since".to_owned();
        policy.tags.insert(since, format!("{now:.0}"));
        self.changed = now;
        self.settings = settings;
    }

    fn policy_mut(&mut self) -> &mut LifecyclePolicy {
        &mut self.inventory.policies[0]
    }

    /// Lets time pass.
    pub fn advance(&mut self, minutes: i32) {
        for _ in 0..minutes {
            self.now += MINUTE;
            self.act();
        }
    }

    fn act(&mut self) {
        let scheduled = self.now - self.late;
        if scheduled >= self.changed && self.is_run(scheduled) {
            self.run();
        }
        if self.has_neighbours {
            self.neighbours_act();
        }
    }

    /// Whether our schedule has a run in this minute.
    fn is_run(&self, minute: Timestamp) -> bool {
        let schedule = self.settings.schedule;
        let start: Vec<i64> = schedule
            .start_time
            .to_string()
            .split(':')
            .map(|part| part.parse().unwrap())
            .collect();
        let of_day = minute.as_second().div_euclid(60).rem_euclid(24 * 60);
        let since = of_day - (start[0] * 60 + start[1]);
        since.rem_euclid(i64::from(schedule.interval_hours) * 60) == 0
    }

    fn run(&mut self) {
        let name = self.settings.schedule_name.clone();
        let skipped = self.skipped.take();
        for volume in self.inventory.volumes.clone() {
            if skipped.as_deref() == Some(volume.id.as_str()) {
                continue;
            }
            self.take(&volume, |tags| {
                tags.insert("aws:dlm:lifecycle-schedule-name".to_owned(), name.clone());
            });
            self.delete_beyond_count(&volume, &name);
        }
    }

    fn take(&mut self, volume: &Volume, mark: impl FnOnce(&mut etcd_backup_core::Tags)) {
        let mut taken = snapshot(volume, 0);
        self.made += 1;
        taken.id = format!("snap-{:06}", self.made).into();
        taken.started = self.now + SignedDuration::from_millis(7_345);
        mark(&mut taken.tags);
        self.inventory.snapshots.push(taken);
    }

    fn delete_beyond_count(&mut self, volume: &Volume, name: &str) {
        let tag = |snapshot: &Snapshot, key: &str| snapshot.tags.get(key).cloned();
        let is_counted = |snapshot: &Snapshot| {
            snapshot.volume_id == volume.id
                && tag(snapshot, "aws:dlm:lifecycle-policy-id").as_deref() == Some(POLICY)
                && tag(snapshot, "aws:dlm:lifecycle-schedule-name").as_deref() == Some(name)
        };
        let snapshots = &mut self.inventory.snapshots;
        let count = snapshots.iter().filter(|of| is_counted(of)).count();
        let keep = usize::try_from(self.settings.retain_count).unwrap();
        for _ in keep..count {
            let oldest = snapshots.iter().position(is_counted).unwrap();
            snapshots.remove(oldest);
        }
    }

    /// The other team's policy runs every four hours, AWS Backup every morning.
    fn neighbours_act(&mut self) {
        let of_day = self.now.as_second().div_euclid(60).rem_euclid(24 * 60);
        for volume in self.inventory.volumes.clone() {
            if of_day % 240 == 30 {
                self.take(&volume, |tags| {
                    tags.insert("aws:dlm:lifecycle-policy-id".to_owned(), THEIRS.to_owned());
                    let name = "aws:dlm:lifecycle-schedule-name".to_owned();
                    tags.insert(name, "Daily 2 week etcd snapshots".to_owned());
                });
            }
            if of_day == 5 * 60 {
                self.take(&volume, |tags| {
                    tags.retain(|key, _| !key.starts_with("aws:"));
                    let source = "aws:backup:source-resource".to_owned();
                    tags.insert(source, volume.id.to_string());
                });
            }
        }
    }

    /// Has the next run leave out a volume.
    pub fn skip_once(&mut self, volume: &str) {
        self.skipped = Some(volume.to_owned());
    }
}
