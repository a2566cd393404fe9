//! Who doesn't belong to the set: members of another cluster, twice the same, unknown to the membership, in
//! contradiction to the others, or ahead of all that the others could bring them.

use std::collections::BTreeMap;

use super::member::node_names;
use super::participant::{Field, Participant};
use super::start::Start;
use crate::mvcc::Comparison;
use crate::version::Version;
use crate::wal::{ConfState, LogComparison};

/// A cluster's id, and the token of its data directory where `/state` tells it.
type ClusterKey = (u64, Option<String>);

/// Members of one cluster have one cluster id, and after a restore by etcd-manager one new token.
pub(super) fn exclude_other_clusters(field: &mut Field) {
    let clusters = clusters(&field.sound);
    let largest = clusters.values().map(Vec::len).max().unwrap_or(0);
    let mut ours = clusters
        .iter()
        .filter(|(_, members)| members.len() == largest)
        .map(|(cluster, _)| cluster);
    let (first, second) = (ours.next(), ours.next());
    let ours = first.filter(|_| second.is_none());
    if ours.is_none() {
        // Any of the largest may be the cluster; not more than one of them.
        field.disputed += largest;
    }
    for (cluster, members) in clusters
        .iter()
        .filter(|(cluster, _)| ours != Some(*cluster))
    {
        let others = if ours.is_some() {
            "the other members belong to another one"
        } else {
            "each of the others to another one"
        };
        let (id, token) = (cluster.0, cluster.1.as_deref().unwrap_or("unknown"));
        for at in members {
            field.exclude(*at, format!("It belongs to the cluster {id:x} (token {token}), and {others}: the members are of different generations. Choose a restore point from before or after the restore that lies between them."));
        }
    }
    field.report.cluster_id = field
        .sound
        .first()
        .map(|participant| format!("{:x}", participant.start.log.cluster_id));
}

fn clusters(sound: &[Participant]) -> BTreeMap<ClusterKey, Vec<usize>> {
    let mut clusters: BTreeMap<ClusterKey, Vec<usize>> = BTreeMap::new();
    for participant in sound {
        let key = (participant.start.log.cluster_id, participant.token());
        clusters.entry(key).or_default().push(participant.at);
    }
    // Where /state is lost there is no token: such a member belongs where its cluster id is.
    let without_token: Vec<_> = clusters
        .keys()
        .filter(|(_, token)| token.is_none())
        .cloned()
        .collect();
    for nameless in without_token {
        let mut same_id = clusters
            .keys()
            .filter(|(id, token)| *id == nameless.0 && token.is_some())
            .cloned();
        if let (Some(named), None) = (same_id.next(), same_id.next()) {
            let members = clusters.remove(&nameless).unwrap_or_default();
            clusters.entry(named).or_default().extend(members);
        }
    }
    clusters
}

/// Two members with one id make raft panic. The membership tells by its nodes' names whose the id is.
pub(super) fn exclude_duplicates(field: &mut Field) {
    let mut by_id: BTreeMap<u64, Vec<Participant>> = BTreeMap::new();
    for participant in &field.sound {
        by_id
            .entry(participant.id())
            .or_default()
            .push(*participant);
    }
    for (id, participants) in by_id
        .into_iter()
        .filter(|(_, participants)| participants.len() > 1)
    {
        let names: Vec<_> = participants.iter().map(Participant::name).collect();
        let mut owners = participants
            .iter()
            .filter(|participant| owns(participant, id));
        let owner = owners
            .next()
            .filter(|_| owners.next().is_none())
            .map(|owner| owner.at);
        for participant in participants
            .iter()
            .filter(|participant| Some(participant.at) != owner)
        {
            field.exclude(
                participant.at,
                format!("The members {} hold the data of one member ({id:x}): a snapshot, or a volume's tag, is of another member.", names.join(" and ")),
            );
        }
    }
}

/// Whether the membership says that an id is that of the participant's node.
fn owns(participant: &Participant, id: u64) -> bool {
    let node = participant.start.node_name(id);
    node.is_some_and(|node| {
        node_names(&participant.member.context)
            .iter()
            .any(|name| name == node)
    })
}

/// Gives the voters of the cluster, as its newest member knows them, and takes out whom it doesn't know.
/// Learners take no further part.
pub(super) fn exclude_strangers(field: &mut Field) -> ConfState {
    let Some(newest) = field.newest() else {
        return ConfState::default();
    };
    let conf_state = newest.start.conf_state();
    let in_database = newest
        .version()
        .is_some_and(|version| version >= Version::MEMBERS_IN_DATABASE);
    let recorded = newest.start.recorded_members(in_database);
    let knows = |id: u64| {
        let takes_part = conf_state.voters.contains(&id) || conf_state.learners.contains(&id);
        takes_part
            && recorded
                .as_ref()
                .is_none_or(|recorded| recorded.contains(&id))
    };
    for stranger in field
        .sound
        .clone()
        .iter()
        .filter(|participant| !knows(participant.id()))
    {
        let (name, id) = (newest.name(), stranger.id());
        field.exclude(stranger.at, format!("Member {name}, whose log is the newest, doesn't know this member ({id:x}): it was removed, or never added. Let it rejoin with an empty volume."));
    }
    let learns = |participant: &Participant| conf_state.learners.contains(&participant.id());
    for learner in field.sound.iter().filter(|participant| learns(participant)) {
        field.report.members[learner.at]
            .warning("It is a learner: it doesn't vote, and doesn't count for the quorum.");
    }
    field.sound.retain(|participant| !learns(participant));
    conf_state
}

/// Two members that can't both be right.
struct Contradiction {
    one: usize,
    other: usize,
    what: String,
}

/// Takes out members that hold something else than the others at one index or revision.
pub(super) fn exclude_contradicting(field: &mut Field) {
    let mut contradictions = contradictions(&field.sound);
    // Whoever contradicts the most goes first; where that isn't one alone, nobody can tell who is right.
    while !contradictions.is_empty() {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for at in contradictions
            .iter()
            .flat_map(|contradiction| [contradiction.one, contradiction.other])
        {
            *counts.entry(at).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let wrong: Vec<_> = counts
            .into_iter()
            .filter(|(_, count)| *count == most)
            .map(|(at, _)| at)
            .collect();
        // Of those that contradict each other, one at least is wrong.
        field.disputed += wrong.len() - 1;
        let advice = if wrong.len() == 1 {
            "Let it rejoin with an empty volume, or choose another restore point."
        } else {
            "Which of them is right can't be told: choose another restore point."
        };
        for at in &wrong {
            let about: Vec<_> = contradictions
                .iter()
                .filter(|contradiction| contradiction.one == *at || contradiction.other == *at)
                .collect();
            let other = |contradiction: &&Contradiction| {
                if contradiction.one == *at {
                    contradiction.other
                } else {
                    contradiction.one
                }
            };
            let others: Vec<_> = about
                .iter()
                .map(|contradiction| field.report.members[other(contradiction)].member.clone())
                .collect();
            let what = about
                .first()
                .map(|contradiction| contradiction.what.clone())
                .unwrap_or_default();
            field.exclude_voter(
                *at,
                format!(
                    "It contradicts member {}: {what}. {advice}",
                    others.join(" and ")
                ),
            );
        }
        contradictions.retain(|contradiction| {
            !wrong.contains(&contradiction.one) && !wrong.contains(&contradiction.other)
        });
    }
}

fn contradictions(sound: &[Participant]) -> Vec<Contradiction> {
    let mut found = Vec::new();
    for (index, one) in sound.iter().enumerate() {
        for other in &sound[index + 1..] {
            if let Some(what) = contradiction(&one.start, &other.start) {
                found.push(Contradiction {
                    one: one.at,
                    other: other.at,
                    what,
                });
            }
        }
    }
    found
}

fn contradiction(one: &Start, other: &Start) -> Option<String> {
    let logs = one
        .log
        .entries
        .compare(one.committed(), &other.log.entries, other.committed());
    if let LogComparison::Differ(index) = logs {
        return Some(format!("their logs differ at index {index}"));
    }
    if let Comparison::Different(revision) = one.contents.digests.compare(&other.contents.digests) {
        return Some(format!("their databases differ at revision {revision}"));
    }
    if revisions_contradict(one, other) || revisions_contradict(other, one) {
        return Some(
            "their databases hold different numbers of changes for one part of the log".to_owned(),
        );
    }
    None
}

/// Whether the part of the log that one database holds and the other doesn't yet can't make the difference of their
/// revisions. etcd 3.5.0 to 3.5.2 left such databases when they crashed under load, and serve from them (etcd's
/// issue 13766).
fn revisions_contradict(earlier: &Start, later: &Start) -> bool {
    let index = |start: &Start| start.contents.meta.consistent_index;
    let alarms = !earlier.contents.alarms.is_empty() || !later.contents.alarms.is_empty();
    if alarms || index(earlier) > index(later) {
        return false;
    }
    let logs = [&earlier.log.entries, &later.log.entries];
    let growth = logs
        .into_iter()
        .find_map(|entries| entries.growth_between(index(earlier), index(later)));
    let (from, to) = (earlier.contents.revision, later.contents.revision);
    growth.is_some_and(|growth| {
        to < from.saturating_add(growth.at_least) || to > from.saturating_add(growth.at_most)
    })
}

/// A database that is ahead of every log is never caught up with; or it is, by other entries than those it holds.
pub(super) fn exclude_ahead_of_logs(field: &mut Field) {
    let Some(longest) = field.newest().map(|newest| newest.start.last().1) else {
        return;
    };
    let ahead =
        |participant: &&Participant| participant.start.contents.meta.consistent_index > longest;
    for participant in field.sound.clone().iter().filter(ahead) {
        // Another member's log may be longer.
        field.disputed += 1;
        field.exclude_voter(
            participant.at,
            format!("Its database is ahead of every member's log, which end at index {longest} at most: it never serves, or serves what no other member holds. Let it rejoin with an empty volume, or choose another restore point."),
        );
    }
}
