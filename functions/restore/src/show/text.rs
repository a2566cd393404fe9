//! An answer as text for a terminal.

use std::fmt::Write;

use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreStage};
use etcd_backup_core::restore_tags::is_made_by;

use super::answer::{MemberAnswer, RestoreAnswer};
use crate::collect::inventory::Inventory;
use crate::decide::follow_up::Subject;
use crate::decide::list::list;
use crate::decide::masters;

/// The whole answer.
pub fn render(answer: &RestoreAnswer, subject: Subject) -> String {
    let mut text = format!("{}\n", headline(answer, subject));
    text += &restore_point(answer, subject);
    text += "\n";
    for member in &answer.members {
        text += &render_member(answer, member);
    }
    text += &render_masters(answer);
    for warning in &answer.warnings {
        let _ = writeln!(text, "\nWarning: {warning}.");
    }
    text += "\nNext:\n";
    for (index, step) in answer.next_steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", index + 1, step.replace('\n', "\n       "));
    }
    text
}

/// What it is about, and how far it is.
fn headline(answer: &RestoreAnswer, subject: Subject) -> String {
    let (id, cluster) = (&answer.restore_id, &answer.cluster);
    let what = match answer.direction {
        Direction::Restore => format!("estore {id} of {cluster}"),
        Direction::Undo => format!("ndo of restore {id} of {cluster}"),
        Direction::Redo => format!("edo of restore {id} of {cluster}"),
    };
    let (upper, lower) = match answer.direction {
        Direction::Restore => ("R", "r"),
        Direction::Undo => ("U", "u"),
        Direction::Redo => ("R", "r"),
    };
    if subject.was_over {
        let again = match answer.direction {
            Direction::Restore => "; \"again\": true would restore anew",
            Direction::Undo | Direction::Redo => "",
        };
        let phase = match answer.direction {
            Direction::Undo => RestoreStage::Undone,
            Direction::Restore | Direction::Redo => RestoreStage::Done,
        };
        return format!(
            "{upper}{what} is {} already{again}. Nothing was changed.",
            phase.name()
        );
    }
    match answer.phase {
        RestoreStage::Planned => format!("Plan of {lower}{what}. Nothing was changed."),
        phase => format!("{upper}{what}: {}. {}", phase.name(), answer.progress),
    }
}

/// How far it is, in a sentence.
pub fn progress(subject: Subject, inventory: &Inventory) -> String {
    let record = subject.record;
    let since = record
        .turn()
        .since()
        .map_or(String::new(), |at| format!(" (since {})", in_seconds(at)));
    // Volumes that an invocation made but could not record any more are counted too.
    let is_there = |key| {
        let mut volumes = inventory.volumes.values();
        volumes.any(|volume| is_made_by(&volume.tags, &record.id, key))
    };
    let members = record.members.iter();
    let made = members.filter(|(key, member)| member.incoming.volume_id.is_some() || is_there(key));
    match subject.phase {
        RestoreStage::Planned if subject.was_over => "Nothing is left to be done.".to_owned(),
        RestoreStage::Planned => "Nothing was begun.".to_owned(),
        RestoreStage::Creating => format!(
            "{} of {} new volumes are being made or are there, not all are available yet{since}; the old \
             ones are untouched.",
            made.count(),
            record.members.len()
        ),
        RestoreStage::WaitingForMasters => {
            let waited_for = match masters::to_terminate(&inventory.control_plane).len() {
                0 => "Masters are terminated, and their volumes not all free yet".to_owned(),
                1 => "1 master is still to be terminated".to_owned(),
                count => format!("{count} masters are still to be terminated"),
            };
            format!("{waited_for}{since}; the old volumes are untouched.")
        }
        RestoreStage::Exchanging => format!("Tags are being moved{since}."),
        RestoreStage::Starting => {
            format!("The volumes are exchanged; masters are starting, the first ones first{since}.")
        }
        RestoreStage::Done | RestoreStage::Undone => format!("It is over{since}."),
    }
}

fn restore_point(answer: &RestoreAnswer, subject: Subject) -> String {
    let point = &answer.restore_point;
    let run = point
        .run
        .map_or("snapshots named by hand".to_owned(), |run| {
            format!("run of {run}")
        });
    let Some(earliest) = point.earliest else {
        return String::new();
    };
    let is_over = subject.was_over || answer.phase == RestoreStage::Undone;
    let name = match answer.direction {
        Direction::Undo if is_over => "Undone restore point",
        Direction::Undo => "Restore point to be undone",
        Direction::Restore | Direction::Redo => "Restore point",
    };
    let skew = point.skew_seconds;
    let verified = point.verified.map_or(String::new(), |verdict| {
        format!(", verified: {}", verdict.name())
    });
    format!(
        "{name}: {run}, taken {} (skew {skew} s){verified}.\n",
        in_seconds(earliest)
    )
}

fn render_member(answer: &RestoreAnswer, member: &MemberAnswer) -> String {
    let name = format!("{}/{}", member.etcd_cluster, member.member);
    let encrypted = if member.encrypted { ", encrypted" } else { "" };
    let kind = format!("{}, {} GiB", member.volume_type, member.size_gib);
    let zone = &member.zone;
    let retired = list(&member.retired);
    if answer.direction == Direction::Undo {
        return match &member.volume_id {
            Some(volume) => {
                format!("  ~ {name:<12} back to {volume} in {zone} ({kind}); gives up {retired}\n")
            }
            None => format!("  - {name:<12} gives up {retired}, which took nobody's place\n"),
        };
    }
    let new = member
        .volume_id
        .as_ref()
        .map_or("a new volume", |volume| volume.as_str());
    let from = &member.snapshot_id;
    let retires = match (member.retired.is_empty(), answer.phase) {
        (true, _) => "the old one is gone".to_owned(),
        (false, RestoreStage::Done) => format!("retired {retired}"),
        (false, _) => format!("retires {retired}"),
    };
    format!("  + {name:<12} {new} from {from} in {zone} ({kind}{encrypted}); {retires}\n")
}

fn render_masters(answer: &RestoreAnswer) -> String {
    let mut text = String::new();
    let masters = &answer.masters;
    if !masters.terminate.is_empty() || !masters.suspend.is_empty() {
        text += "\n";
    }
    for group in &masters.suspend {
        let _ = writeln!(text, "  ~ launches of {group} are suspended meanwhile");
    }
    for instance in &masters.terminate {
        let _ = writeln!(text, "  - {instance} is terminated");
    }
    if !answer.start_first.is_empty() {
        let how = match masters.option {
            MastersOption::Replace => "their masters are launched before the others",
            MastersOption::Leave => "let their masters start before the others",
        };
        let _ = writeln!(
            text,
            "\nStart first: {} ({how}).",
            list(&answer.start_first)
        );
    }
    text
}
