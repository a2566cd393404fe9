//! What the operator does next, in order, with ids. Commands stand on lines of their own, to be pasted.

use etcd_backup_core::ids::RestoreId;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::standing::Turn;

use crate::act;
use crate::answer::RestoreAnswer;
use crate::collect::FleetOfMasters;
use crate::event::{Action, MastersOption};
use crate::step::Phase;

/// What the steps follow from, beside the answer itself.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// The Region, for commands.
    pub region: &'a str,
    /// The settings.
    pub settings: &'a Settings,
    /// The masters as they stand.
    pub fleet: &'a FleetOfMasters,
    /// Whether the restore was done before this invocation.
    pub is_finished: bool,
    /// Whether masters have the volumes in service already: terminating them would only cost time.
    pub is_taken: bool,
    /// Whether volumes that are out of service are still attached to instances.
    pub is_old_in_use: bool,
    /// The undo, or the undo's undo, that it is about.
    pub turn: Option<Turn>,
    /// The options that an unfinished restore was begun with, where its event isn't at hand.
    pub options: Option<&'a str>,
}

impl<'a> Outlook<'a> {
    /// Of work that just began.
    pub fn new(region: &'a str, settings: &'a Settings, fleet: &'a FleetOfMasters) -> Self {
        Self {
            region,
            settings,
            fleet,
            is_finished: false,
            is_taken: false,
            is_old_in_use: false,
            turn: None,
            options: None,
        }
    }
}

/// The steps.
pub fn next_steps(outlook: &Outlook, answer: &RestoreAnswer) -> Vec<String> {
    match answer.phase {
        Phase::Planned if outlook.is_finished => after_restore(outlook, answer),
        Phase::Planned => planned(outlook, answer),
        Phase::Creating | Phase::WaitingForMasters | Phase::Exchanging => {
            unfinished(outlook, answer)
        }
        Phase::Done => after_restore(outlook, answer),
        Phase::Undone => after_undo(outlook, answer),
    }
}

fn planned(outlook: &Outlook, answer: &RestoreAnswer) -> Vec<String> {
    let send = "Send the same event with \"action\": \"restore\" (or without \"action\")";
    match answer.masters.option {
        MastersOption::Leave => {
            let make = format!(
                "{send} to make the new volumes and exchange the tags. Old volumes are kept, untagged."
            );
            [make].into_iter().chain(terminate(outlook)).collect()
        }
        MastersOption::Replace => vec![format!(
            "{send}: it makes the new volumes, suspends launches, terminates the masters, waits until the \
             old volumes are free, exchanges the tags, and resumes launches. Old volumes are kept, untagged."
        )],
    }
}

fn unfinished(outlook: &Outlook, answer: &RestoreAnswer) -> Vec<String> {
    let mut steps = vec![go_on(outlook, answer)];
    let suspended = &answer.masters.suspended;
    if !suspended.is_empty() {
        steps.push(format!(
            "Only if neither works: resume launches by hand; masters then come back on whatever volumes are \
             tagged for them:\n{}",
            act::resume_by_hand(suspended).join("\n")
        ));
    }
    steps
}

fn go_on(outlook: &Outlook, answer: &RestoreAnswer) -> String {
    let cluster = &answer.cluster;
    let masters = match answer.masters.option {
        MastersOption::Leave => "Don't start or terminate masters, and don't run kops update,",
        MastersOption::Replace => "Don't start masters, and don't run kops update,",
    };
    let undo = |id: &RestoreId| {
        format!(
            "Send {{\"action\":\"undo\",\"cluster\":\"{cluster}\",\"restore_id\":\"{id}\"}} again"
        )
    };
    let event = match (outlook.turn, outlook.options) {
        (Some(Turn::Undo), _) => undo(&answer.restore_id),
        (Some(Turn::Redo), _) => undo(&answer.restore_id.undo()),
        (None, Some(options)) => {
            format!("Send the restore's event again (its options: {options})")
        }
        (None, None) => "Send the same event again".to_owned(),
    };
    let way_out = match outlook.turn {
        Some(_) => String::new(),
        None => format!(
            " {{\"action\":\"undo\",\"cluster\":\"{cluster}\"{}}} gives it up instead.",
            masters_field(answer)
        ),
    };
    format!(
        "{event}: it goes on where it stopped, and makes nothing twice. {masters} before the answer says \
         done.{way_out}"
    )
}

fn after_restore(outlook: &Outlook, answer: &RestoreAnswer) -> Vec<String> {
    let mut steps = masters_come(outlook, answer);
    steps.extend(after_time_travel(answer));
    let mut members = answer.members.iter();
    if members.all(|member| !member.retired.is_empty()) {
        steps.push(way_back(answer, &answer.restore_id));
    }
    steps.extend(delete(outlook, answer));
    steps
}

fn after_undo(outlook: &Outlook, answer: &RestoreAnswer) -> Vec<String> {
    let was_exchanged = answer
        .members
        .iter()
        .any(|member| member.volume_id.is_some());
    let mut steps = masters_come(outlook, answer);
    if was_exchanged {
        steps.extend(after_time_travel(answer));
        steps.push(way_back(answer, &answer.restore_id.undo()));
    }
    steps.extend(delete(outlook, answer));
    steps
}

fn way_back(answer: &RestoreAnswer, id: &RestoreId) -> String {
    format!(
        "The way back, as long as the volumes out of service exist:\n\
         {{\"action\":\"undo\",\"cluster\":\"{}\",\"restore_id\":\"{id}\"{}}}",
        answer.cluster,
        masters_field(answer)
    )
}

/// Who had masters replaced will want it on the way back too.
fn masters_field(answer: &RestoreAnswer) -> &'static str {
    match answer.masters.option {
        MastersOption::Leave => "",
        MastersOption::Replace => ",\"masters\":\"replace\"",
    }
}

fn masters_come(outlook: &Outlook, answer: &RestoreAnswer) -> Vec<String> {
    // After a restore that left them, a repetition that would replace them finds it done.
    let are_replaced = answer.masters.option == MastersOption::Replace
        && answer.action != Action::Status
        && !outlook.is_old_in_use;
    let mut steps = match outlook.is_taken || are_replaced {
        true => Vec::new(),
        false => terminate(outlook),
    };
    steps.push(
        "Wait until the new masters are Ready and etcd is ok:\n\
         kubectl get nodes\n\
         kubectl get --raw '/readyz?verbose'"
            .to_owned(),
    );
    steps
}

/// Sources: kops "Etcd backup, restore and encryption"; kubernetes issue 86812; etcd issue 16028.
fn after_time_travel(answer: &RestoreAnswer) -> Vec<String> {
    vec![
        "The kubernetes endpoints must list only the new masters' addresses. Where a dead one stays, its \
         lease came back with the old data and must be taken out of etcd, as the runbook says:\n\
         kubectl get endpoints kubernetes --namespace default"
            .to_owned(),
        format!(
            "Nodes have seen a state of etcd that no longer exists: replace them all, and make anew what \
             was changed in it (tokens, objects):\n\
             kops rolling-update cluster --name {} --cloudonly --force --yes --instance-group-roles Node",
            answer.cluster
        ),
    ]
}

/// Nobody else deletes what is out of service, nor its snapshots: Lifecycle Manager forgets a volume that
/// lost its target tag.
fn delete(outlook: &Outlook, answer: &RestoreAnswer) -> Option<String> {
    let Outlook {
        region, settings, ..
    } = outlook;
    let retired = || answer.members.iter().flat_map(|member| &member.retired);
    let spaced: Vec<&str> = retired().map(|volume| volume.as_str()).collect();
    if spaced.is_empty() {
        return None;
    }
    let of_volumes = format!("Name=volume-id,Values={}", spaced.join(","));
    Some(format!(
        "Not now: when all is well, and the volumes in service have a history of their own ({} runs), \
         delete those out of service and their snapshots, as nobody else will. It ends the way back, and \
         every older restore point:\n\
         for volume in {}; do aws ec2 delete-volume --region {region} --volume-id $volume; done\n\
         aws ec2 describe-snapshots --region {region} --owner-ids self --filters {of_volumes} \
         --query 'Snapshots[].[SnapshotId]' --output text \
         | xargs -n 1 aws ec2 delete-snapshot --region {region} --snapshot-id",
        settings.retain_count,
        spaced.join(" "),
    ))
}

/// One command for all: a restored member that meets a live, newer peer panics or loses entries. What is
/// in no group isn't terminated, as nothing would bring it back.
fn terminate(outlook: &Outlook) -> Vec<String> {
    let Outlook { fleet, region, .. } = outlook;
    let ids = |is_in_group: bool| -> Vec<&str> {
        let masters = fleet.alive();
        masters
            .filter(|master| fleet.group_of(&master.id).is_some() == is_in_group)
            .map(|master| master.id.as_str())
            .collect()
    };
    let (in_groups, others) = (ids(true).join(" "), ids(false).join(" "));
    let mut steps = Vec::new();
    if !others.is_empty() {
        steps.push(format!(
            "These masters are in no autoscaling group. Stop them all, detach their etcd volumes (a reboot \
             keeps the old ones attached), and start them when the others come back:\n\
             aws ec2 stop-instances --region {region} --instance-ids {others}\n\
             aws ec2 start-instances --region {region} --instance-ids {others}"
        ));
    }
    if !in_groups.is_empty() {
        steps.push(format!(
            "Terminate all masters at once, never one after the other; their autoscaling groups bring \
             new ones, which find the right volumes:\n\
             aws ec2 terminate-instances --region {region} --instance-ids {in_groups}"
        ));
    }
    match steps.is_empty() {
        true => vec!["No master runs: let the autoscaling groups start them.".to_owned()],
        false => steps,
    }
}
