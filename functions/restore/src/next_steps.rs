//! What the operator does next, in order, with ids. Commands stand on lines of their own, to be pasted.

use crate::plan::Plan;
use crate::step::Phase;

/// The steps for a restore in a phase.
pub fn next_steps(plan: &Plan, phase: Phase, region: &str) -> Vec<String> {
    match phase {
        Phase::Planned if plan.is_finished => after(plan, region),
        Phase::Planned => vec![
            "Send the same event with \"action\": \"restore\" (or without \"action\") to make the new \
             volumes and exchange the tags. The old volumes are kept, untagged."
                .to_owned(),
            terminate(plan, region),
        ],
        Phase::Creating | Phase::Exchanging => vec![
            "Send the same event again: it goes on where it stopped, and makes nothing twice. Don't \
             start or terminate masters, and don't run kops update, before the answer is done."
                .to_owned(),
        ],
        Phase::Done => after(plan, region),
    }
}

fn after(plan: &Plan, region: &str) -> Vec<String> {
    // Once masters have the restored volumes, terminating them would only cost time.
    let made = plan
        .members
        .iter()
        .filter_map(|member| member.made.as_ref());
    let is_taken = made.flat_map(|volume| &volume.attachments).next().is_some();
    let mut steps = match is_taken {
        true => Vec::new(),
        false => vec![terminate(plan, region)],
    };
    steps.extend([
        "Wait until the new masters are up and every etcd member has joined:\n\
         kubectl get nodes\n\
         kubectl get --raw '/readyz?verbose'"
            .to_owned(),
        "etcd went back in time, so what runs may know more than it: restart the kubelets or roll the \
         nodes, make tokens and objects of the lost time again, and delete its leases, which are among these:\n\
         kubectl get leases --all-namespaces"
            .to_owned(),
    ]);
    let retired: Vec<&str> = plan
        .members
        .iter()
        .flat_map(|member| &member.old)
        .map(|volume| volume.id.as_str())
        .collect();
    if !retired.is_empty() {
        steps.push(format!(
            "When all is well, days later, delete the retired volumes, as nobody else will; until then \
             they are the way back:\n\
             for volume in {}; do aws ec2 delete-volume --region {region} --volume-id $volume; done",
            retired.join(" ")
        ));
    }
    steps
}

/// One command for all: a restored member that meets a live, newer peer panics or loses entries.
fn terminate(plan: &Plan, region: &str) -> String {
    let ids: Vec<&str> = plan
        .masters
        .iter()
        .map(|master| master.id.as_str())
        .collect();
    match ids.is_empty() {
        true => "No master runs: let the autoscaling groups start them.".to_owned(),
        false => format!(
            "Terminate all masters at once, never one after the other; their autoscaling groups bring \
             new ones, which find the restored volumes:\n\
             aws ec2 terminate-instances --region {region} --instance-ids {}",
            ids.join(" ")
        ),
    }
}
