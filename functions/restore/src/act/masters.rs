//! Holding launches and terminating masters.

use etcd_backup_core::aws::MasterWriter;
use etcd_backup_core::ids::{GroupName, InstanceId, RestoreId};
use futures::future::join_all;

use super::lease::Lease;
use super::{Stop, by_fresh_tag};

/// The tag first, so that a person sees whose doing a suspended group is; the record names it already.
pub async fn suspend(
    aws: &impl MasterWriter,
    lease: &Lease,
    groups: &[GroupName],
    by: &RestoreId,
) -> Result<(), Stop> {
    lease.during(aws.mark_suspended(groups, by)).await??;
    let calls = groups.iter().map(async |group| {
        let write = by_fresh_tag(async || aws.suspend_launches(group).await);
        lease.during(write).await
    });
    for suspended in join_all(calls).await {
        suspended??;
    }
    Ok(())
}

/// All are tried, whichever fails; the tags go only off those that are resumed.
pub async fn resume(
    aws: &impl MasterWriter,
    lease: &Lease,
    groups: &[GroupName],
) -> Result<(), Stop> {
    let calls = groups.iter().map(async |group| {
        let write = by_fresh_tag(async || aws.resume_launches(group).await);
        (group, lease.during(write).await)
    });
    let mut resumed = Vec::new();
    let mut failure = None;
    for (group, result) in join_all(calls).await {
        match result? {
            Ok(()) => resumed.push(group.clone()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if !resumed.is_empty() {
        let write = by_fresh_tag(async || aws.unmark_suspended(&resumed).await);
        lease.during(write).await??;
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// All at once: no restored member may meet a live, newer peer.
pub async fn terminate(
    aws: &impl MasterWriter,
    lease: &Lease,
    instances: &[InstanceId],
) -> Result<(), Stop> {
    lease.during(aws.terminate(instances)).await??;
    Ok(())
}
