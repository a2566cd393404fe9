//! When exchanges can have been, by EC2's clock: after the creation of all volumes in them, after the
//! last snapshot of a volume that went out for good, and before the first of one that came in new.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Exchange, MemberExchange};
use crate::fleet::{Cluster, Member};
use crate::ids::VolumeId;

/// A volume's times by EC2's clock.
#[derive(Clone, Copy, Debug, Default)]
struct VolumeTimes {
    created: Option<Timestamp>,
    first_snapshot: Option<Timestamp>,
    last_snapshot: Option<Timestamp>,
}

type TimesByVolume<'a> = BTreeMap<&'a VolumeId, VolumeTimes>;

/// Puts the times of one restore's exchanges, given in their order, within these bounds.
pub(super) fn put_right(cluster: &Cluster, exchanges: &mut [Exchange]) {
    let keys = exchanges
        .iter()
        .flat_map(|exchange| exchange.members.keys());
    let members = keys.filter_map(|key| cluster.members.get(key));
    let times: TimesByVolume = members.fold(BTreeMap::new(), add_times);
    let mut before = Timestamp::MIN;
    for index in 0..exchanges.len() {
        let (earlier, rest) = exchanges.split_at_mut(index);
        let Some((exchange, later)) = rest.split_first_mut() else {
            return;
        };
        let at_least = at_least(exchange, later, &times);
        let at_most = at_most(exchange, earlier, &times);
        let at = exchange.at.max(at_least.unwrap_or(exchange.at));
        let at = at.min(at_most.unwrap_or(at));
        exchange.at = at.max(before);
        before = exchange.at;
    }
}

fn add_times<'a>(mut times: TimesByVolume<'a>, member: &'a Member) -> TimesByVolume<'a> {
    let retired = member.retired.iter().map(|(_, volume)| volume);
    for volume in member.volumes.iter().chain(retired) {
        times.entry(&volume.id).or_default().created = Some(volume.created);
    }
    for of_member in &member.snapshots {
        let snapshot = &of_member.snapshot;
        let times = times.entry(&snapshot.volume_id).or_default();
        times.first_snapshot.get_or_insert(snapshot.started);
        times.last_snapshot = Some(snapshot.started);
    }
    times
}

fn at_least(exchange: &Exchange, later: &[Exchange], times: &TimesByVolume) -> Option<Timestamp> {
    let created = |id: &VolumeId| times.get(id)?.created;
    let last_snapshot = |id: &VolumeId| times.get(id)?.last_snapshot;
    let incoming = incoming(exchange).filter_map(created);
    let outgoing = outgoing(exchange).filter_map(created);
    let returns = |id: &VolumeId| {
        later
            .iter()
            .any(|of| self::incoming(of).any(|other| other == id))
    };
    let for_good = self::outgoing(exchange).filter(|id| !returns(id));
    let all = incoming.chain(outgoing);
    all.chain(for_good.filter_map(last_snapshot)).max()
}

fn at_most(exchange: &Exchange, earlier: &[Exchange], times: &TimesByVolume) -> Option<Timestamp> {
    let was_out = |id: &VolumeId| {
        earlier
            .iter()
            .any(|of| outgoing(of).any(|other| other == id))
    };
    let members = exchange.members.values();
    let new = members
        .flat_map(|of| &of.incoming)
        .filter(|incoming| !incoming.returns)
        .map(|incoming| &incoming.volume)
        .filter(|id| !was_out(id));
    new.filter_map(|id| times.get(id)?.first_snapshot).min()
}

fn incoming(exchange: &Exchange) -> impl Iterator<Item = &VolumeId> {
    let members = exchange.members.values();
    let incoming = members.flat_map(|of| &of.incoming);
    incoming.map(|incoming| &incoming.volume)
}

fn outgoing(exchange: &Exchange) -> impl Iterator<Item = &VolumeId> {
    let members = exchange.members.values();
    members.flat_map(|of: &MemberExchange| &of.outgoing)
}
