//! Which of a run's snapshots of one etcd cluster go together.
//!
//! Between two snapshots of one run, a restore may exchange the volumes, or somebody may make blank
//! ones. A snapshot of before and one of after such a moment are of different timelines: members
//! started from both would have logs that contradict each other.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::generation::Service;
use crate::ids::MemberKey;
use crate::snapshot::Snapshot;

/// A snapshot that a run left of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The time of service that its volume was in.
    pub(super) service: Service,
}

impl Candidate<'_> {
    /// What masters wrote last before this is in it: out of service, a volume doesn't change.
    fn moment(&self) -> Timestamp {
        let started = self.snapshot.started;
        self.service
            .until
            .map_or(started, |until| until.min(started))
    }

    fn rank(&self) -> (bool, Timestamp) {
        (!self.snapshot.is_usable(), self.snapshot.started)
    }
}

/// One snapshot of each member: the best ones, or, where these are mixed, the best ones of the earliest
/// timeline that has a usable one of all `member_count` members.
pub(super) fn choose<'a>(
    candidates: &BTreeMap<&'a MemberKey, Vec<Candidate<'a>>>,
    member_count: usize,
) -> BTreeMap<&'a MemberKey, Candidate<'a>> {
    let best = best(candidates, |_| true);
    if !is_mixed(best.values()) || candidates.values().all(|of_member| of_member.len() < 2) {
        return best;
    }
    let services = candidates.values().flatten().map(|of| of.service);
    let turns = services.flat_map(|service| [service.since, service.until]);
    let mut beginnings: Vec<Timestamp> = turns.flatten().collect();
    beginnings.sort_unstable();
    beginnings.dedup();
    // Snapshots of one timeline were all taken after its beginning, of volumes in service by then.
    let mut timelines = beginnings.into_iter().map(|beginning| {
        let fits = |of: &Candidate| {
            let Service { since, until } = of.service;
            since.is_none_or(|since| since <= beginning)
                && until.is_none_or(|until| until > beginning)
                && of.moment() >= beginning
        };
        self::best(candidates, |of| of.snapshot.is_usable() && fits(of))
    });
    let whole = timelines.find(|of| of.len() >= member_count && !is_mixed(of.values()));
    whole.unwrap_or(best)
}

fn best<'a>(
    candidates: &BTreeMap<&'a MemberKey, Vec<Candidate<'a>>>,
    fits: impl Fn(&Candidate) -> bool,
) -> BTreeMap<&'a MemberKey, Candidate<'a>> {
    let best = candidates.iter().filter_map(|(key, of_member)| {
        let fitting = of_member.iter().filter(|of| fits(of));
        Some((*key, *fitting.min_by_key(|of| of.rank())?))
    });
    best.collect()
}

/// Whether the volume of one snapshot came into service after another snapshot's moment, or went out
/// before it.
pub(super) fn is_mixed<'c, 'a: 'c>(
    chosen: impl Iterator<Item = &'c Candidate<'a>> + Clone,
) -> bool {
    let moments = chosen.clone().map(Candidate::moment);
    let (Some(earliest), Some(latest)) = (moments.clone().min(), moments.max()) else {
        return false;
    };
    let came_after = |service: Service| service.since.is_some_and(|since| since > earliest);
    let went_before = |service: Service| service.until.is_some_and(|until| until < latest);
    chosen
        .map(|of| of.service)
        .any(|service| came_after(service) || went_before(service))
}
