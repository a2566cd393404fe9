//! Which restore point is taken when nobody says which, and why a person must say sometimes.
//!
//! `kops update cluster` makes blank volumes after a loss, and their snapshots look like any others.
//! So neither a run of a young generation is taken by itself, nor one of a generation that is over:
//! whether what came after it is the loss or the cluster as it should be, only a person knows.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::{History, RunSnapshots};
use crate::generation::Generation;
use crate::ids::{MemberKey, VolumeId};
use crate::schedule::Run;
use crate::snapshot::Snapshot;

/// How many generations a refusal offers.
const ALTERNATIVES_MAX: usize = 5;

/// Why the latest restore point isn't taken by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The latest restore point's run.
    pub run: Run,
    /// The members that it is doubted for, each with the later generation.
    pub members: Vec<DoubtedMember>,
    /// Whether the run is of the later generation itself; else it is of an earlier one.
    pub is_of_later: bool,
    /// The newest restore point of each generation, newest first.
    pub alternatives: Vec<Alternative>,
}

/// A member with a generation that came after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtedMember {
    /// The member.
    pub key: MemberKey,
    /// The volume that was made blank.
    pub volume: VolumeId,
    /// When it was made, or, as far as is known, when it was there.
    pub began: Timestamp,
}

/// The newest restore point of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Its run.
    pub run: Run,
    /// What `at` takes it.
    pub at: Timestamp,
    /// When its generation began: that of the last of the doubted members.
    pub began: Timestamp,
    /// Whether that is known to the second.
    pub is_exact: bool,
}

impl<'a> History<'a> {
    /// Why a run, chosen as the newest restore point, must not be taken unless a person says so: it
    /// is doubtful, or newer runs or the live volumes are of a later generation.
    pub fn doubt(
        &self,
        chosen: &RunSnapshots<'a>,
        runs: &[RunSnapshots<'a>],
        is_wanted: impl Fn(&MemberKey) -> bool,
    ) -> Option<Doubt> {
        let young: BTreeMap<_, _> = chosen
            .snapshots
            .keys()
            .filter(|key| chosen.doubtful.contains(*key) && is_wanted(key))
            .filter_map(|key| Some((*key, self.generation(chosen, key)?)))
            .collect();
        let is_of_later = !young.is_empty();
        let later = if is_of_later {
            young
        } else {
            self.later_generations(chosen, runs, &is_wanted)
        };
        (!later.is_empty()).then(|| Doubt {
            run: chosen.run,
            alternatives: self.alternatives(runs, &later, &is_wanted),
            members: later.into_iter().map(DoubtedMember::new).collect(),
            is_of_later,
        })
    }

    /// The members of which newer runs, or the live volumes, are of a later generation than a run's
    /// snapshots, with the latest.
    pub fn later_generations(
        &self,
        chosen: &RunSnapshots<'a>,
        runs: &[RunSnapshots<'a>],
        is_wanted: impl Fn(&MemberKey) -> bool,
    ) -> BTreeMap<&'a MemberKey, &Generation<'a>> {
        let newer: Vec<_> = runs.iter().filter(|run| run.run > chosen.run).collect();
        let mut later = BTreeMap::new();
        for key in chosen.snapshots.keys().filter(|key| is_wanted(key)) {
            let Some(own) = self.generation(chosen, key) else {
                continue;
            };
            let of_runs = newer.iter().filter_map(|run| self.generation(run, key));
            let of_member = self.generations.get(key);
            let live = of_member.into_iter().flat_map(|of_member| of_member.live());
            let latest = of_runs.chain(live).max_by_key(|of| of.number);
            if let Some(latest) = latest.filter(|latest| latest.number > own.number) {
                later.insert(*key, latest);
            }
        }
        later
    }

    /// Whether a live volume of the member is of a later generation than a snapshot of it.
    pub fn is_before_live(&self, key: &MemberKey, snapshot: &Snapshot) -> bool {
        let Some(of_member) = self.generations.get(key) else {
            return false;
        };
        let own = of_member.of_snapshot(snapshot);
        own.is_some_and(|own| of_member.live().any(|live| live.number > own.number))
    }

    fn generation(&self, run: &RunSnapshots<'a>, key: &MemberKey) -> Option<&Generation<'a>> {
        let snapshot = run.snapshots.get(key)?;
        self.generations.get(key)?.of_snapshot(snapshot)
    }

    fn alternatives(
        &self,
        runs: &[RunSnapshots<'a>],
        doubted: &BTreeMap<&'a MemberKey, &Generation<'a>>,
        is_wanted: impl Fn(&MemberKey) -> bool,
    ) -> Vec<Alternative> {
        let mut known: Vec<Vec<Option<usize>>> = Vec::new();
        let mut alternatives = Vec::new();
        for run in runs.iter().filter(|run| run.is_complete_of(&is_wanted)) {
            let generations = doubted.keys().map(|key| self.generation(run, key));
            let numbers = generations.clone().map(|of| Some(of?.number)).collect();
            if known.contains(&numbers) {
                continue;
            }
            known.push(numbers);
            let last = generations.flatten().max_by_key(|of| of.began);
            alternatives.extend(last.zip(run.latest()).map(|(last, at)| Alternative {
                run: run.run,
                at,
                began: last.began,
                is_exact: last.is_exact,
            }));
            if alternatives.len() == ALTERNATIVES_MAX {
                break;
            }
        }
        alternatives
    }
}

impl DoubtedMember {
    fn new((key, generation): (&MemberKey, &Generation)) -> Self {
        Self {
            key: key.clone(),
            volume: generation.volume.clone(),
            began: generation.began,
        }
    }
}

impl fmt::Display for DoubtedMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, volume, began } = self;
        write!(f, "{key} ({volume}, {began:.0})")
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, at, began, .. } = self;
        let since = if self.is_exact {
            "that began"
        } else {
            "first seen"
        };
        write!(
            f,
            "\"at\": \"{at}\" takes the run of {run}, of the generation {since} {began:.0}"
        )
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.run;
        let members: Vec<String> = self.members.iter().map(DoubtedMember::to_string).collect();
        let members = members.join(", ");
        if self.is_of_later {
            write!(
                f,
                "the latest restore point, of the run of {run}, may be of empty volumes: those of \
                 {members} were made blank less than 7 days before it, as kops update does after a \
                 loss, and snapshots of what was there before still exist."
            )?;
        } else {
            write!(
                f,
                "the latest restore point, of the run of {run}, is from before blank volumes were made \
                 of {members}, after a loss or for a cluster made anew, and no run since is complete."
            )?;
        }
        let alternatives: Vec<String> = self
            .alternatives
            .iter()
            .map(Alternative::to_string)
            .collect();
        write!(f, " Choose: {}", alternatives.join("; "))
    }
}
