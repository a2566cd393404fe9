//! Random histories, judged by a model that knows which state every snapshot is of.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::generation::DOUBTED_FOR;
use etcd_backup_core::ids::{EtcdClusterName, MemberKey, SnapshotId, VolumeId};
use etcd_backup_core::restore_point::History;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use world::at;
use world::cluster::{MEMBERS, Restored, Scenario, keys};

#[derive(Clone, Copy, Debug)]
enum Event {
    /// DLM takes a snapshot of a member's volume, if it has one.
    Take(usize),
    /// All volumes are lost and made anew, blank.
    MadeAnew,
    /// All members are restored from each one's newest snapshot of so many hours ago.
    Restore(i64),
    /// The newest restore is undone, unless volumes were made anew since.
    Undo,
    /// `kops update cluster` takes our tags off live volumes.
    KopsUpdate,
    /// An operator deletes retired volumes.
    CleanUp,
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let event = prop_oneof![
        20 => (0..MEMBERS.len()).prop_map(Event::Take),
        1 => Just(Event::MadeAnew),
        2 => (0..200_i64).prop_map(Event::Restore),
        2 => Just(Event::Undo),
        1 => Just(Event::KopsUpdate),
        1 => Just(Event::CleanUp),
    ];
    proptest::collection::vec((1..400_i64, event), 1..120)
}

/// What a snapshot is of.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Counts what ends a state of the whole cluster: beginnings, exchanges, undos.
    timeline: usize,
    began: Timestamp,
}

#[derive(Debug)]
struct Model {
    scenario: Scenario,
    timeline: usize,
    /// When the generation in each live volume began.
    began: BTreeMap<MemberKey, Timestamp>,
    of_snapshots: BTreeMap<SnapshotId, State>,
    /// Volumes that nobody retired.
    lost: BTreeSet<VolumeId>,
    /// The newest restore, with what was live before it.
    restored: Option<(Restored, BTreeMap<MemberKey, Timestamp>)>,
}

impl Model {
    fn new(at: Timestamp) -> Self {
        Self {
            scenario: Scenario::new(at),
            timeline: 0,
            began: keys().map(|key| (key, at)).collect(),
            of_snapshots: BTreeMap::new(),
            lost: BTreeSet::new(),
            restored: None,
        }
    }

    fn after(events: &[(i64, Event)]) -> Self {
        let mut now = at("2026-11-01T00:00:00Z");
        let mut model = Self::new(now);
        for (minutes, event) in events {
            now += SignedDuration::from_mins(*minutes + 1);
            model.happens(*event, now);
        }
        model
    }

    fn happens(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Take(member) => {
                let key: MemberKey = MEMBERS[member].parse().unwrap();
                let state = State {
                    timeline: self.timeline,
                    began: self.began[&key],
                };
                let id = self.scenario.take(MEMBERS[member], now);
                self.of_snapshots.insert(id, state);
            }
            Event::MadeAnew => {
                self.lost.extend(self.scenario.live.values().cloned());
                self.scenario.lose(&MEMBERS);
                self.scenario.make_blank(&MEMBERS, now);
                self.timeline += 1;
                self.began = keys().map(|key| (key, now)).collect();
                self.restored = None;
            }
            Event::Restore(hours_ago) => {
                let from = self
                    .scenario
                    .newest(now - SignedDuration::from_hours(hours_ago));
                if from.len() == MEMBERS.len() {
                    let began = |(key, id): (&MemberKey, &SnapshotId)| {
                        (key.clone(), self.of_snapshots[id].began)
                    };
                    let began = from.iter().map(began).collect();
                    let before = std::mem::replace(&mut self.began, began);
                    let restored = self.scenario.restore(&from, now);
                    self.restored = Some((restored, before));
                    self.timeline += 1;
                }
            }
            Event::Undo => {
                if let Some((restored, before)) = self.restored.take() {
                    self.scenario.undo(&restored, now);
                    self.timeline += 1;
                    self.began = before;
                }
            }
            Event::KopsUpdate => self.scenario.kops_updates(),
            Event::CleanUp => {
                self.scenario.clean_up();
                self.restored = None;
            }
        }
    }

    /// Whether there is a snapshot of an earlier generation from before this one began.
    fn follows_another(&self, key: &MemberKey, began: Timestamp) -> bool {
        let tag = format!("k8s.io/etcd/{}", key.etcd_cluster);
        let prefix = format!("{}/", key.member);
        let mut own = self.scenario.snapshots.iter().filter(|snapshot| {
            let value = snapshot.tags.get(&tag);
            value.is_some_and(|value| value.starts_with(&prefix))
        });
        own.any(|snapshot| snapshot.started < began)
    }
}

fn main() -> BTreeSet<EtcdClusterName> {
    BTreeSet::from(["main".into()])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_run_is_mixed_when_its_snapshots_are_of_several_states_and_a_restore_point_never_is(events in events()) {
        let model = Model::after(&events);
        let cluster = model.scenario.cluster();
        let schedule = Scenario::schedule();
        let history = History::new(&cluster, model.scenario.recorded.clone(), &schedule);
        for run in history.runs(&main()) {
            let timelines: BTreeSet<usize> = run
                .snapshots
                .values()
                .map(|snapshot| model.of_snapshots[&snapshot.id].timeline)
                .collect();
            // Of a volume that was lost, nothing tells when it was made.
            if run.snapshots.values().any(|snapshot| model.lost.contains(&snapshot.volume_id)) {
                continue;
            }
            prop_assert_eq!(!run.mixed.is_empty(), timelines.len() > 1, "{:?}", run);
            // And a run is a restore point whenever one state is whole in it.
            let mut members_of: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
            for snapshot in &model.scenario.snapshots {
                if schedule.run_of(snapshot.started) == run.run {
                    let of_state = members_of.entry(model.of_snapshots[&snapshot.id].timeline);
                    of_state.or_default().insert(snapshot.tags["Name"].as_str());
                }
            }
            let is_whole = members_of.values().any(|members| members.len() == MEMBERS.len());
            prop_assert_eq!(run.is_complete(), is_whole);
        }
    }

    #[test]
    fn a_run_is_doubtful_for_a_week_after_a_new_beginning_and_a_live_member_recreated(events in events()) {
        let model = Model::after(&events);
        let cluster = model.scenario.cluster();
        let schedule = Scenario::schedule();
        let history = History::new(&cluster, model.scenario.recorded.clone(), &schedule);
        let is_doubtful = |key: &MemberKey, began: Timestamp, moment: Timestamp| {
            model.follows_another(key, began) && moment.duration_since(began) < DOUBTED_FOR
        };
        for run in history.runs(&main()) {
            for (key, snapshot) in &run.snapshots {
                let began = model.of_snapshots[&snapshot.id].began;
                let expected = is_doubtful(key, began, run.run.at());
                let told = history.generations(key).unwrap().of_snapshot(snapshot).unwrap();
                // Of a volume that is gone, its first snapshot tells, which is never earlier.
                if told.is_exact {
                    prop_assert_eq!(told.began, began);
                    prop_assert_eq!(run.doubtful.contains(*key), expected);
                } else {
                    prop_assert!(told.began >= began);
                    prop_assert!(!expected || run.doubtful.contains(*key));
                }
            }
        }
        let now = at("2026-11-20T00:00:00Z");
        let recreated: BTreeSet<&MemberKey> = history.recreated(now).map(|(key, _)| key).collect();
        for key in keys() {
            let expected = is_doubtful(&key, model.began[&key], now);
            let live = history.generations(&key).and_then(|of| of.live().next());
            let is_exact = live.is_some_and(|live| live.is_exact);
            prop_assert!(!expected || recreated.contains(&key));
            prop_assert!(!is_exact || expected == recreated.contains(&key));
        }
    }

    #[test]
    fn the_default_choice_never_takes_a_doubtful_run_nor_goes_back_to_an_earlier_generation(events in events()) {
        let model = Model::after(&events);
        let cluster = model.scenario.cluster();
        let history = History::new(&cluster, model.scenario.recorded.clone(), &Scenario::schedule());
        let runs = history.runs(&main());
        let Some(newest) = runs.iter().find(|run| run.is_complete()) else {
            return Ok(());
        };
        let doubt = history.doubt(newest, &runs, |_| true);
        if let Some(doubt) = &doubt {
            // Whatever is meant, one of the alternatives takes it.
            let mut alternatives = doubt.alternatives.iter();
            prop_assert!(alternatives.any(|alternative| alternative.run == newest.run));
            for alternative in &doubt.alternatives {
                let mut at_most = runs.iter().filter(|run| run.is_complete());
                let at = alternative.at;
                let taken = at_most.find(|run| run.earliest().is_some_and(|earliest| earliest <= at));
                prop_assert_eq!(taken.map(|run| run.run), Some(alternative.run));
            }
        }
        if doubt.is_none() {
            prop_assert!(newest.doubtful.is_empty());
            for (key, snapshot) in &newest.snapshots {
                let began = model.of_snapshots[&snapshot.id].began;
                prop_assert!(model.began[*key] <= began);
            }
        }
    }
}
