//! The plan: complete enough that carrying it out makes no choices.
//!
//! It is made anew from what is there each time something was done, so that it doesn't matter which
//! invocation did it: a member's new volume is the one that this restore made already, if it did.

use std::collections::BTreeMap;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::NewVolume;
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::discovery::{EtcdTag, Identity};
use etcd_backup_core::fleet::{Cluster, Member};
use etcd_backup_core::ids::{ClusterName, MemberKey, MemberName, RestoreId, ZoneName};
use etcd_backup_core::restore_tags::Origin;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::{Performance, Volume};

use crate::attempt::Attempt;
use crate::choice::Choice;
use crate::collect::{Situation, ZoneEvidence};
use crate::event::{MastersOption, Request};
use crate::exchange::{Exchange, MemberExchange};
use crate::{identity, limits, refusal, tags, zone};

/// A restore, planned or under way.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The restore's id.
    pub restore_id: RestoreId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The chosen snapshots.
    pub choice: Choice,
    /// Member by member.
    pub members: Vec<MemberPlan>,
    /// What is done with the masters.
    pub masters: MastersOption,
    /// Whether it was done before this invocation.
    pub is_finished: bool,
}

/// What happens to one member.
#[derive(Clone, Debug)]
pub struct MemberPlan {
    /// Etcd cluster and member.
    pub key: MemberKey,
    /// What is restored.
    pub snapshot: Snapshot,
    /// The volume to be made.
    pub new: NewVolume,
    /// The volume made already.
    pub made: Option<Volume>,
    /// The tags that the new volume ends with.
    pub final_tags: Tags,
    /// The volumes whose place it takes, retired already or not.
    pub old: Vec<Volume>,
}

impl Plan {
    /// Plans.
    ///
    /// # Errors
    ///
    /// `ZoneUnknown`, `MastersRunning`, `TagLimit`, or `InvalidEvent` for zones that don't exist.
    pub fn new(
        request: &Request,
        situation: &Situation,
        settings: &Settings,
        attempt: &Attempt,
        surroundings: &Surroundings,
    ) -> Result<Self, Diagnostic> {
        refusal::unknown_zones(request, &attempt.choice, &surroundings.zones)?;
        let planner = Planner {
            request,
            cluster: &situation.cluster,
            settings,
            attempt,
            surroundings,
        };
        let zones = planner.zones()?;
        let members = attempt
            .choice
            .snapshots
            .iter()
            .zip(zones.into_values())
            .map(|((key, snapshot), zone)| planner.member(key, snapshot, zone))
            .collect::<Result<_, _>>()?;
        let plan = Self {
            restore_id: attempt.restore_id.clone(),
            cluster: request.cluster.clone(),
            choice: attempt.choice.clone(),
            members,
            masters: request.masters,
            is_finished: attempt.is_finished,
        };
        refusal::exchange(request, &plan.exchange(), situation, settings)?;
        Ok(plan)
    }

    /// The exchange of the volumes that are made so far.
    pub fn exchange(&self) -> Exchange {
        let members = self.members.iter().map(|member| {
            let made = member.made.iter();
            MemberExchange {
                key: member.key.clone(),
                leaving: member.old.clone(),
                coming: made
                    .map(|volume| (volume.clone(), member.final_tags.clone()))
                    .collect(),
            }
        });
        Exchange {
            id: self.restore_id.clone(),
            members: members.collect(),
        }
    }
}

/// All that the plan of a member follows from.
struct Planner<'a> {
    request: &'a Request,
    cluster: &'a Cluster,
    settings: &'a Settings,
    attempt: &'a Attempt,
    surroundings: &'a Surroundings,
}

impl Planner<'_> {
    /// The volume that this restore made for a member, and those whose place it takes.
    fn volumes(&self, key: &MemberKey) -> (Option<&Volume>, Vec<Volume>) {
        let empty = Member::default();
        let member = self.cluster.members.get(key).unwrap_or(&empty);
        let made = match self.attempt.is_finished {
            true => self
                .cluster
                .members
                .get(key)
                .and_then(|member| member.volumes.first()),
            false => identity::made(self.cluster, &self.attempt.restore_id, key)
                .or_else(|| self.forgetful(key)),
        };
        (made, old(member, &self.attempt.restore_id, made))
    }

    /// A tagged volume of a begun restore that replaced nothing, after kops took its origin off: what it
    /// was made from is all that is left to know it by.
    fn forgetful(&self, key: &MemberKey) -> Option<&Volume> {
        let chosen = self.attempt.choice.snapshots.get(key)?;
        match &self.cluster.members.get(key)?.volumes[..] {
            [live] if live.made_from.as_ref() == Some(&chosen.id) => {
                let is_forgetful =
                    self.attempt.adopts_forgetful && Origin::of(&live.tags).is_none();
                is_forgetful.then_some(live)
            }
            _ => None,
        }
    }

    fn member(
        &self,
        key: &MemberKey,
        snapshot: &Snapshot,
        zone: ZoneName,
    ) -> Result<MemberPlan, Diagnostic> {
        let Self {
            request,
            cluster,
            settings,
            attempt,
            ..
        } = self;
        let (made, old) = self.volumes(key);
        // Type and tags follow the newest of the old ones, should there be several.
        let pattern = old.iter().max_by_key(|volume| volume.created);
        let origin = Origin {
            restore_id: attempt.restore_id.clone(),
            cluster: request.cluster.clone(),
            member: key.clone(),
            member_count: attempt.choice.snapshots.len(),
            run: attempt.choice.run,
            options: request.options_text(),
        };
        let mut new = NewVolume {
            snapshot_id: snapshot.id.clone(),
            zone,
            size_gib: pattern.map_or(0, |old| old.size_gib).max(snapshot.size_gib),
            performance: performance(request, pattern),
            tags: origin.tags(),
            client_token: String::new(),
        };
        if made.is_none() {
            limits::check(key, &new)?;
        }
        let used_up = attempt.used_up.get(key).copied().unwrap_or(0);
        new.client_token = identity::client_token(cluster, &new, &origin, used_up);
        let old_tags = pattern.map(tags::original);
        let etcd = etcd_tag(key, snapshot, old_tags.as_ref(), cluster, &attempt.choice);
        let final_tags = tags::complete(
            &request.cluster,
            &etcd,
            &snapshot.tags,
            old_tags.as_ref(),
            settings,
        );
        let plan = MemberPlan {
            key: key.clone(),
            new,
            made: made.cloned(),
            final_tags,
            snapshot: snapshot.clone(),
            old,
        };
        let count = plan.final_tags.len() + plan.new.tags.len();
        refusal::too_many_final_tags(key, &snapshot.id, count)?;
        Ok(plan)
    }

    /// Each member's zone: of the volume made already, else as the event says, else the old one's,
    /// else by the rule for vanished ones.
    fn zones(&self) -> Result<BTreeMap<MemberKey, ZoneName>, Diagnostic> {
        let mut zones = BTreeMap::new();
        let mut vanished = Vec::new();
        for key in self.attempt.choice.snapshots.keys() {
            let (made, old) = self.volumes(key);
            let pattern = old.iter().max_by_key(|volume| volume.created);
            let wish = self.request.zones.get(&key.member);
            match (made, wish, pattern) {
                (Some(volume), _, _) | (None, None, Some(volume)) => {
                    zones.insert(key.clone(), volume.zone.clone());
                }
                (None, Some(zone), _) => {
                    zones.insert(key.clone(), zone.clone());
                }
                (None, None, None) => vanished.push(key.clone()),
            }
        }
        let Surroundings {
            region,
            zones: evidence,
            ..
        } = self.surroundings;
        zones.extend(zone::zones_of_vanished(
            &vanished,
            self.cluster,
            region,
            evidence,
        )?);
        Ok(zones)
    }
}

/// What a plan needs to know beside the cluster's volumes and snapshots.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The Region.
    pub region: String,
    /// What tells zones; empty where nothing needs it.
    pub zones: ZoneEvidence,
}

/// The volumes whose place this restore's takes: those live beside it, and those it retired.
fn old(member: &Member, restore_id: &RestoreId, made: Option<&Volume>) -> Vec<Volume> {
    let live = member
        .volumes
        .iter()
        .filter(|volume| made.is_none_or(|made| made.id != volume.id));
    let retired = member
        .retired
        .iter()
        .filter(|(by, _)| by.restore_id == *restore_id)
        .map(|(_, volume)| volume);
    live.chain(retired).cloned().collect()
}

/// The etcd tag of the snapshot; where it has none, the old volume's; else with the list of a peer, of
/// its volumes or its newest snapshot; else of the members restored.
fn etcd_tag(
    key: &MemberKey,
    snapshot: &Snapshot,
    old: Option<&Tags>,
    cluster: &Cluster,
    choice: &Choice,
) -> EtcdTag {
    let of = |tags: &Tags| match Identity::of(tags) {
        Some(Ok(identity)) if identity.member_key() == *key => Some(identity.etcd),
        _ => None,
    };
    let restored = choice
        .snapshots
        .keys()
        .filter(|other| other.etcd_cluster == key.etcd_cluster);
    of(&snapshot.tags)
        .or_else(|| of(old?))
        .unwrap_or_else(|| EtcdTag {
            etcd_cluster: key.etcd_cluster.clone(),
            member: key.member.clone(),
            members: list_of_peers(cluster, key)
                .unwrap_or_else(|| restored.map(|other| other.member.clone()).collect()),
        })
}

fn list_of_peers(cluster: &Cluster, key: &MemberKey) -> Option<Vec<MemberName>> {
    let peers = || cluster.members_of(&key.etcd_cluster).map(|(_, peer)| peer);
    let of_volumes = peers().flat_map(|peer| &peer.volumes).filter_map(|volume| {
        let identity = Identity::of(&volume.tags)?.ok()?;
        Some(identity.etcd.members)
    });
    let of_snapshots = peers().filter_map(|peer| Some(peer.snapshots.last()?.members.clone()));
    of_volumes
        .chain(of_snapshots)
        .find(|members| members.contains(&key.member))
}

/// As the old volume has it, else gp3; the event's own wishes first.
fn performance(request: &Request, old: Option<&Volume>) -> Performance {
    let wish = request.volume.as_ref();
    let old = old.map(|volume| &volume.performance);
    let old_type = old.map_or("gp3", |old| old.volume_type.as_str());
    let volume_type = wish
        .and_then(|wish| wish.volume_type.as_deref())
        .unwrap_or(old_type);
    // Another type's figures mean nothing to this one.
    let old = old.filter(|old| old.volume_type == volume_type);
    let takes_iops = ["gp3", "io1", "io2"].contains(&volume_type);
    let iops = old.and_then(|old| old.iops).filter(|_| takes_iops);
    let throughput = old
        .and_then(|old| old.throughput)
        .filter(|_| volume_type == "gp3");
    Performance {
        volume_type: volume_type.to_owned(),
        iops: wish.and_then(|wish| wish.iops).or(iops),
        throughput: wish.and_then(|wish| wish.throughput).or(throughput),
    }
}
