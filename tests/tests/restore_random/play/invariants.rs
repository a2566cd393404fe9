//! What must be so after every move, whatever was played.

use std::collections::{BTreeMap, BTreeSet};

use e2e::restores::{found_by_masters, suspended_groups};
use etcd_backup_core::ids::VolumeId;
use serde_json::json;

use super::Play;

impl Play {
    /// What must be so after every move.
    pub(super) async fn verify(&mut self) -> Result<(), String> {
        let (_, violations) = self.world.aws.candidate_violations().await;
        if !violations.is_empty() {
            return Err(format!("two volumes for a member: {violations:#?}"));
        }
        let suspended = suspended_groups(&self.world.aws, &self.world.cluster).await;
        if self.model.unfinished().is_some() {
            return self.suspension_is_told(&suspended).await;
        }
        if !suspended.is_empty() {
            return Err(format!(
                "nothing is under way, and {suspended:?} are suspended"
            ));
        }
        let found = found_by_masters(&self.world.aws, &self.world.cluster).await;
        let expected = self.model.should_be_found();
        if found != expected {
            return Err(format!(
                "masters find {found:?}, and should find {expected:?}"
            ));
        }
        self.resumptions_were_right().await?;
        self.found_before = expected;
        Ok(())
    }

    async fn suspension_is_told(&self, suspended: &BTreeSet<String>) -> Result<(), String> {
        if suspended.is_empty() {
            return Ok(());
        }
        let event = json!({"cluster": self.world.cluster.name(), "action": "status"});
        let status = self.restore.invoke(event).await;
        let status = status.map_err(|error| format!("status: {error}"))?;
        let told = status["masters"]["suspended"].as_array().cloned();
        let told: BTreeSet<String> = told
            .unwrap_or_default()
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        if told == *suspended {
            Ok(())
        } else {
            Err(format!(
                "suspended are {suspended:?}, and status tells {told:?}"
            ))
        }
    }

    /// Whenever launches were resumed, masters found one volume for each member: all as before, or all
    /// of the restore that is the newest now.
    async fn resumptions_were_right(&mut self) -> Result<(), String> {
        let resumptions = self.world.aws.resumptions().await;
        let new = &resumptions[self.resumptions_seen.min(resumptions.len())..];
        for resumption in new {
            let mut found = BTreeMap::<String, BTreeSet<VolumeId>>::new();
            let of_cluster = resumption
                .found
                .iter()
                .filter(|found| found.cluster == self.world.cluster.name());
            for place in of_cluster {
                let key = format!("{}/{}", place.etcd_cluster, place.member);
                found
                    .entry(key)
                    .or_default()
                    .extend(place.volumes.iter().cloned());
            }
            if !self.is_one_side(&found) {
                return Err(format!(
                    "{} was resumed when masters found {found:?}; before: {:?}",
                    resumption.group, self.found_before
                ));
            }
        }
        self.resumptions_seen = resumptions.len();
        Ok(())
    }

    /// Whether masters find one volume for each member: of the newest restore's all as before, or all
    /// others, or all of one of its sides where somebody's tags had changed some before.
    fn is_one_side(&self, found: &BTreeMap<String, BTreeSet<VolumeId>>) -> bool {
        let newest = self.model.newest();
        let outgoing = newest.map(|newest| newest.outgoing.clone());
        let outgoing = outgoing.unwrap_or_default();
        let came = |member: &&String| found.get(*member) != self.found_before.get(*member);
        let coming = outgoing.keys().filter(came).count();
        let only = |id: &VolumeId| Some(BTreeSet::from([id.clone()]));
        let are_outgoing = outgoing.iter().all(|(member, id)| {
            let id = id.as_ref();
            found.get(member).cloned() == id.and_then(only)
        });
        let are_incoming = newest
            .and_then(|newest| newest.incoming.as_ref())
            .is_some_and(|incoming| {
                let mut incoming = incoming.iter();
                incoming.all(|(member, id)| found.get(member).cloned() == only(id))
            });
        let is_one_each = found.values().all(|volumes| volumes.len() == 1);
        let all_alike = coming == 0 || coming == outgoing.len();
        is_one_each && (all_alike || are_outgoing || are_incoming)
    }
}
