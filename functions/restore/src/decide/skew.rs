//! How far apart the members' snapshots may have been started: members of different moments may panic, or lose
//! what others acknowledged.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::restore_point::{RunSnapshots, skew_seconds};

use super::choice::Choice;
use crate::event::Request;

/// Whether what a run left of the members asked for was started close enough together.
pub fn is_close_enough(request: &Request, run: &RunSnapshots) -> bool {
    let wanted = run.snapshots.iter();
    let wanted = wanted.filter(|(key, _)| request.wants(key));
    skew_seconds(wanted.map(|(_, snapshot)| *snapshot)) <= seconds_max(request)
}

/// Whether a choice must be refused, as its snapshots were started too far apart.
///
/// # Errors
///
/// `SkewTooLarge`, with the older restore point to choose instead, where there is one.
pub fn refuse(request: &Request, choice: &Choice) -> Result<(), Diagnostic> {
    let skew_seconds = choice.skew_seconds();
    if skew_seconds <= seconds_max(request) {
        return Ok(());
    }
    // The figure is rounded up, so that it would be enough as skew_minutes_max.
    let skew_minutes = (skew_seconds + 59) / 60;
    let of_run = choice
        .run
        .map(|run| format!(" of the run of {run}"))
        .unwrap_or_default();
    let instead = choice.older_close_enough.map_or(
        "Choose an older restore point with \"at\"".to_owned(),
        |at| {
            format!(
                "Say \"at\": \"{}\" for the newest older restore point that is close enough",
                in_seconds(at)
            )
        },
    );
    Err(Diagnostic::new(
        ErrorType::SkewTooLarge,
        format!(
            "the members' snapshots{of_run} were started {skew_minutes} minutes apart, more than {} allowed: \
             etcd may panic or lose entries. {instead}, or raise \"skew_minutes_max\" to {skew_minutes}",
            request.skew_minutes_max
        ),
    ))
}

fn seconds_max(request: &Request) -> i64 {
    i64::from(request.skew_minutes_max) * 60
}
