//! What one member's volumes held between a blank beginning and the next.
//!
//! A volume that was made blank begins a generation. One that a restore made from a snapshot goes on
//! with that snapshot's generation, on a branch of its own from the exchange on; one that an undo put
//! back goes on with its own. What this project knows of a snapshot's past follows from here: whether
//! its run is doubtful or mixed, and whether a member was recreated.
//!
//! Invariant: what EC2 says of a volume that exists (created when, from which snapshot) is believed
//! before any tag; tags and records tell only of volumes that are gone, and when volumes were exchanged.

mod exchange;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

pub use exchange::{Exchange, Incoming, MemberExchange, exchanges};

use crate::fleet::{Cluster, Member};
use crate::ids::{MemberKey, SnapshotId, VolumeId};
use crate::restore_tags::restored_by;
use crate::snapshot::Snapshot;
use crate::volume::Volume;

/// How long a generation that came after another one is doubted: `kops update cluster` makes blank
/// volumes after a loss, and the next run's snapshots look like any others.
pub const DOUBTED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a member's volumes held from one blank beginning to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation<'a> {
    /// Its place among those that are known of the member: 0 for the earliest.
    pub number: usize,
    /// The volume that was made blank.
    pub volume: &'a VolumeId,
    /// When that was; of a volume that is gone, the start of its first known snapshot.
    pub began: Timestamp,
    /// Whether the volume still tells when it was made.
    pub is_exact: bool,
    /// Whether snapshots of an earlier generation were there already.
    pub follows_another: bool,
}

impl Generation<'_> {
    /// Whether it came after another one, less than [`DOUBTED_FOR`] before a moment.
    pub fn is_doubtful(&self, moment: Timestamp) -> bool {
        self.follows_another && moment.duration_since(self.began) < DOUBTED_FOR
    }
}

/// A time in which masters found a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Since when; `None` where nothing tells.
    pub since: Option<Timestamp>,
    /// Until when; `None` where it still lasts, or nothing tells.
    pub until: Option<Timestamp>,
}

/// The generations of one member.
#[derive(Clone, Debug, Default)]
pub struct Generations<'a> {
    /// The earliest first.
    generations: Vec<Generation<'a>>,
    /// By id.
    volumes: Vec<(&'a VolumeId, VolumeHistory)>,
    /// The numbers of those of the volumes that masters find now.
    live: Vec<usize>,
}

/// What became of one volume.
#[derive(Clone, Debug)]
struct VolumeHistory {
    /// The number of its generation.
    generation: usize,
    /// The earliest first; never empty.
    services: Box<[Service]>,
}

/// What is known of a volume, by EC2 or, where it is gone, by its snapshots.
struct KnownVolume<'a, 'e> {
    id: &'a VolumeId,
    /// Its creation; of one that is gone, the start of its first snapshot.
    began: Timestamp,
    exists: bool,
    made_from: MadeFrom<'e>,
}

/// What a volume was made from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MadeFrom<'a> {
    Blank,
    Snapshot(Option<&'a SnapshotId>),
}

impl<'a> Generations<'a> {
    /// Those of a member, given all [`exchanges`] of its cluster.
    pub fn of(
        cluster: &'a Cluster,
        key: &'a MemberKey,
        member: &'a Member,
        exchanges: &[Exchange],
    ) -> Self {
        let exchanges: Vec<(Timestamp, &MemberExchange)> = exchanges
            .iter()
            .filter_map(|exchange| Some((exchange.at, exchange.members.get(key)?)))
            .collect();
        let known = known_volumes(cluster, key, member, &exchanges);
        let mut of_member = Self::default();
        for volume in &known {
            let generation = of_member.generation_of(member, volume);
            let services = services(volume, &exchanges);
            let history = VolumeHistory {
                generation,
                services,
            };
            let place = of_member.place(volume.id).unwrap_or_else(|place| place);
            of_member.volumes.insert(place, (volume.id, history));
        }
        let live = member.volumes.iter();
        of_member.live = live
            .filter_map(|volume| Some(of_member.volume(&volume.id)?.generation))
            .collect();
        // Every member has one of each of these, so that their spare room would add up.
        of_member.generations.shrink_to_fit();
        of_member.volumes.shrink_to_fit();
        of_member.live.shrink_to_fit();
        of_member
    }

    fn volume(&self, id: &VolumeId) -> Option<&VolumeHistory> {
        let place = self.place(id).ok()?;
        Some(&self.volumes[place].1)
    }

    fn place(&self, id: &VolumeId) -> Result<usize, usize> {
        self.volumes.binary_search_by(|(own, _)| (*own).cmp(id))
    }

    /// The number of a volume's generation, given those of all volumes that began before it.
    fn generation_of(&mut self, member: &'a Member, volume: &KnownVolume<'a, '_>) -> usize {
        let source = match volume.made_from {
            MadeFrom::Blank => None,
            MadeFrom::Snapshot(id) => source(member, id, volume.began),
        };
        let inherited = source.and_then(|source| self.volume(&source.volume_id));
        if let Some(inherited) = inherited {
            return inherited.generation;
        }
        let number = self.generations.len();
        let oldest = member.snapshots.first();
        self.generations.push(Generation {
            number,
            volume: volume.id,
            began: volume.began,
            is_exact: volume.exists && volume.made_from == MadeFrom::Blank,
            // No snapshot is older than its generation.
            follows_another: oldest.is_some_and(|of| of.snapshot.started < volume.began),
        });
        number
    }

    /// The generation of a snapshot of the member.
    pub fn of_snapshot(&self, snapshot: &Snapshot) -> Option<&Generation<'a>> {
        let history = self.volume(&snapshot.volume_id)?;
        self.generations.get(history.generation)
    }

    /// The time of service that a snapshot was taken in.
    pub fn service_of(&self, snapshot: &Snapshot) -> Service {
        let Some(history) = self.volume(&snapshot.volume_id) else {
            return Service::default();
        };
        let has_begun = |service: &&Service| {
            let since = service.since;
            since.is_none_or(|since| since <= snapshot.started)
        };
        let begun = history.services.iter().rfind(has_begun);
        begun.copied().unwrap_or_default()
    }

    /// The generations of the volumes that masters find now.
    pub fn live(&self) -> impl Iterator<Item = &Generation<'a>> {
        self.live.iter().map(|number| &self.generations[*number])
    }

    /// The generation that a live volume of the member began less than [`DOUBTED_FOR`] ago, while
    /// snapshots of an earlier one were there: after a loss, or when a cluster was made anew.
    pub fn recreated(&self, now: Timestamp) -> Option<&Generation<'a>> {
        let mut live = self.live();
        live.find(|generation| generation.is_doubtful(now))
    }
}

/// All volumes that the member has or had, in the order in which they began.
fn known_volumes<'a: 'e, 'e>(
    cluster: &'a Cluster,
    key: &MemberKey,
    member: &'a Member,
    exchanges: &[(Timestamp, &'e MemberExchange)],
) -> Vec<KnownVolume<'a, 'e>> {
    let retired = member.retired.iter().map(|(_, volume)| volume);
    let unfinished = cluster.unfinished.iter();
    let unfinished = unfinished.filter(|(origin, _)| origin.member == *key);
    let existing = member.volumes.iter().chain(retired);
    let existing = existing.chain(unfinished.map(|(_, volume)| volume));
    let mut known: BTreeMap<&VolumeId, KnownVolume> = existing
        .map(|volume| (&volume.id, KnownVolume::existing(volume)))
        .collect();
    // Snapshots are oldest first: the first one of a volume that is gone tells when it was there.
    for of_member in &member.snapshots {
        let snapshot = &of_member.snapshot;
        let gone = || KnownVolume::gone(snapshot, exchanges);
        known.entry(&snapshot.volume_id).or_insert_with(gone);
    }
    let mut known: Vec<KnownVolume> = known.into_values().collect();
    known.sort_by_key(|volume| volume.began);
    known
}

impl<'a: 'e, 'e> KnownVolume<'a, 'e> {
    fn existing(volume: &'a Volume) -> Self {
        let made_from = volume.made_from.as_ref();
        Self {
            id: &volume.id,
            began: volume.created,
            exists: true,
            made_from: made_from.map_or(MadeFrom::Blank, |id| MadeFrom::Snapshot(Some(id))),
        }
    }

    /// A volume of which only snapshots, and perhaps a record, are left.
    fn gone(first: &'a Snapshot, exchanges: &[(Timestamp, &'e MemberExchange)]) -> Self {
        let id = &first.volume_id;
        let incoming = exchanges.iter().flat_map(|(_, of)| &of.incoming);
        let sources = incoming.filter(|incoming| incoming.volume == *id && !incoming.returns);
        let made_from = match sources.map(|incoming| incoming.made_from.as_ref()).max() {
            Some(source) => MadeFrom::Snapshot(source),
            None if restored_by(&first.tags).is_some() => MadeFrom::Snapshot(None),
            None => MadeFrom::Blank,
        };
        Self {
            id,
            began: first.started,
            exists: false,
            made_from,
        }
    }
}

/// The snapshot that a volume was made from; where it is unknown or gone, the newest before the volume.
fn source<'a>(
    member: &'a Member,
    id: Option<&SnapshotId>,
    began: Timestamp,
) -> Option<&'a Snapshot> {
    let snapshots = &member.snapshots;
    let by_id = id.and_then(|id| snapshots.iter().find(|of| of.snapshot.id == *id));
    let older = || {
        let count = snapshots.partition_point(|of| of.snapshot.started < began);
        snapshots[..count].last()
    };
    by_id.or_else(older).map(|of_member| &*of_member.snapshot)
}

/// When masters found a volume: from its creation on, as far as no exchange tells otherwise.
fn services(volume: &KnownVolume, exchanges: &[(Timestamp, &MemberExchange)]) -> Box<[Service]> {
    let mut last = Service {
        since: volume.exists.then_some(volume.began),
        until: None,
    };
    let mut services = Vec::new();
    for (at, exchange) in exchanges {
        let mut incoming = exchange.incoming.iter();
        if incoming.any(|incoming| incoming.volume == *volume.id) {
            last.until.get_or_insert(*at);
            services.push(last);
            last = Service {
                since: Some(*at),
                until: None,
            };
        } else if exchange.outgoing.contains(volume.id) {
            last.until = Some(*at);
        }
    }
    services.push(last);
    services.into()
}
