//! Making the incoming volumes, and what became of them.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{MemberKey, VolumeId};
use etcd_backup_core::restore_record::Direction;
use etcd_backup_core::restore_tags::{Retirement, is_made_by};
use etcd_backup_core::volume::VolumeState;

use super::{Execution, World};
use crate::act::Stop;
use crate::act::volumes::{self, CreateOutcome};
use crate::decide::list::list;
use crate::decide::{refusal, turn};

impl<Aws: World> Execution<'_, Aws> {
    /// Volumes of this restore that its record doesn't know of, as it was cut off between making them and
    /// writing that down.
    pub(super) fn adopt(&mut self) {
        let id = self.record.id.clone();
        for (key, member) in &mut self.record.members {
            let incoming = &mut member.incoming;
            if incoming.volume_id.is_some() {
                continue;
            }
            let mut volumes = self.inventory.volumes.values();
            let found = volumes.find(|volume| {
                is_made_by(&volume.tags, &id, key)
                    && !Retirement::is_on(&volume.tags)
                    && !incoming.failed.contains(&volume.id)
                    && volume.state != VolumeState::Error
            });
            incoming.volume_id = found.map(|volume| volume.id.clone());
        }
    }

    pub(super) async fn create(&mut self, keys: &[MemberKey]) -> Result<(), Stop> {
        let made = volumes::create(self.aws, self.lease, &self.record, keys).await?;
        let mut gone = Vec::new();
        let mut failure = None;
        for (key, made) in made {
            let Some(member) = self.record.members.get_mut(&key) else {
                continue;
            };
            let incoming = &mut member.incoming;
            match made {
                CreateOutcome::Volume(id) => incoming.volume_id = Some(id),
                CreateOutcome::Gone => {
                    incoming.attempt += 1;
                    gone.push(format!("the volume for {key}"));
                }
                CreateOutcome::RateRefused(error) => {
                    let rate = incoming.initialization_rate_mib_s.take().unwrap_or(0);
                    incoming.attempt += 1;
                    self.record.warnings.push(format!(
                        "the volume of {key} is made without initialization_rate, as EC2 refused {rate} \
                         MiB/s: etcd's first minutes may be slow ({error})"
                    ));
                }
                CreateOutcome::Failed(error) => {
                    failure = failure.or(Some((key, error)));
                }
            }
        }
        self.save().await?;
        if let Some((key, error)) = failure {
            return Err(volumes::not_made(&self.record, &key, error).into());
        }
        if !gone.is_empty() {
            return Err(volume_failed(&gone).into());
        }
        Ok(())
    }

    /// A volume that ended in `error`, or is gone, is given up as long as nothing is exchanged: the next
    /// invocation makes another one, with a token of its own. This one ends, as what broke it won't have
    /// changed within seconds.
    pub(super) async fn refuse_failed(&mut self) -> Result<(), Stop> {
        let failed = self.failed_volumes().await?;
        if failed.is_empty() {
            return Ok(());
        }
        let makes_anew = turn::can_make_anew(&self.record, &self.inventory.volumes);
        let mut described = Vec::new();
        for (key, id, what) in failed {
            let Some(member) = self.record.members.get_mut(&key) else {
                continue;
            };
            described.push(format!(
                "{id} for {key} from {} ({what})",
                member.snapshot.id
            ));
            if makes_anew {
                let incoming = &mut member.incoming;
                incoming.failed.push(id);
                incoming.volume_id = None;
                incoming.attempt += 1;
            }
        }
        if !makes_anew {
            return Err(refusal::lost_in_exchange(&self.record, &described).into());
        }
        self.save().await?;
        Err(volume_failed(&described).into())
    }

    /// The incoming volumes of a restore that ended in `error`, or are gone, each with which of both.
    async fn failed_volumes(&mut self) -> Result<Vec<(MemberKey, VolumeId, &'static str)>, Stop> {
        let mut failed = Vec::new();
        if self.record.turn().direction != Direction::Restore {
            return Ok(failed);
        }
        for (key, member) in &self.record.members {
            let Some(id) = &member.incoming.volume_id else {
                continue;
            };
            let volume = self.inventory.volumes.get(id);
            let sightings = self.seen.sightings.entry(id.clone()).or_default();
            sightings.note(volume.is_some());
            let what = match volume {
                Some(volume) if volume.state == VolumeState::Error => "state error",
                None if sightings.seem_over() && self.aws.is_volume_gone(id).await? => "vanished",
                _ => continue,
            };
            failed.push((key.clone(), id.clone(), what));
        }
        Ok(failed)
    }
}

fn volume_failed(failed: &[String]) -> Diagnostic {
    Diagnostic::new(
        ErrorType::VolumeFailed,
        format!(
            "EC2 could not make {}. Most often this function, or EC2 in its name, may not use the KMS key: \
             that of an encrypted snapshot or of \"kms_key_id\", or the account's default key where encryption \
             by default is on. The old volumes are as they were. Mend the cause and send the same event again: \
             it makes the failed ones anew, and nothing twice. Delete what is left of the failed ones with aws \
             ec2 delete-volume when all is done",
            list(failed)
        ),
    )
}
