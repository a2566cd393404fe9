//! Plan by id: what a plan showed is done, or nothing is.

use super::*;

async fn planned(bed: &RestoreBed, more: &Value) -> Value {
    let mut event = more.clone();
    let action = event["action"].as_str().unwrap_or("restore").to_owned();
    event["action"] = json!("plan");
    event["of"] = json!(action);
    bed.aws.clear_calls().await;
    let plan = bed.ask(event).await;
    assert_eq!(plan["phase"], "planned", "{plan}");
    assert_eq!(bed.aws.writes().await.len(), 0, "a plan writes nothing");
    plan
}

fn by_id(more: &Value, plan: &Value) -> Value {
    let mut event = more.clone();
    event["plan_id"] = plan["plan_id"].clone();
    event
}

#[tokio::test]
async fn a_plan_is_carried_out_as_it_was_shown() {
    let bed = RestoreBed::small().await;
    for event in [
        json!({}),
        json!({"action": "undo"}),
        json!({"action": "redo"}),
    ] {
        let plan = planned(&bed, &event).await;
        let id = plan["plan_id"].as_str().unwrap();
        // The text holds the event that carries it out, ready to be pasted.
        assert_says(&plan["text"], &[id, "plan_id"]);
        let done = bed.ask(by_id(&event, &plan)).await;
        assert_ne!(done["phase"], "planned");
        let snapshots = |answer: &Value| {
            let members = answer["members"].as_array().unwrap().iter();
            members
                .map(|member| member["snapshot_id"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(snapshots(&done), snapshots(&plan));
        bed.assert_masters_find(&answered_volumes(&done)).await;
    }
}

#[tokio::test]
async fn the_same_is_planned_twice_whatever_time_it_is() {
    let bed = RestoreBed::small().await;
    let first = planned(&bed, &replace()).await;
    bed.aws.advance(HOUR / 2).await;
    bed.aws.act(&Actor::tag_cleaner()).await;
    let label = json!({"tags": {"cost-centre": "17"}});
    bed.aws
        .set_volume(bed.cluster.volume("main/a"), label)
        .await;
    let second = planned(&bed, &replace()).await;
    assert_eq!(first["plan_id"], second["plan_id"]);
    let done = bed.done(by_id(&replace(), &first)).await;
    assert_eq!(done["phase"], "done");
}

/// Each of these is something that the plan said.
#[tokio::test]
async fn a_plan_that_is_not_what_would_be_done_any_more_is_refused() {
    let seeded = RestoreBed::small().await;
    let plan = planned(&seeded, &replace()).await;
    let event = by_id(&replace(), &plan);

    let bed = seeded.fork().await;
    bed.next_morning().await;
    let error = bed.refused(event.clone(), "PlanChanged").await;
    let list = bed.ask(json!({"action": "list"})).await;
    let run = list["restore_points"][0]["run"].as_str().unwrap();
    assert_says(&json!(error.message), &[run]);

    let bed = seeded.fork().await;
    bed.lose("main/b").await;
    let error = bed.refused(event.clone(), "PlanChanged").await;
    assert_says(&json!(error.message), &["outgoing"]);

    let bed = seeded.fork().await;
    let instance = bed.cluster.masters[2].instance.as_str();
    let terminate = bed.aws.ec2().terminate_instances();
    terminate.instance_ids(instance).send().await.unwrap();
    let error = bed.refused(event.clone(), "PlanChanged").await;
    assert_says(&json!(error.message), &["terminated"]);

    let bed = seeded.fork().await;
    let volume = bed.cluster.volume("main/a").as_str();
    let modify = bed.aws.ec2().modify_volume().volume_id(volume);
    modify.iops(6000).send().await.unwrap();
    bed.refused(event.clone(), "PlanChanged").await;

    // The plan of other options, or of another action, is no plan of this.
    let bed = seeded.fork().await;
    bed.refused(json!({"plan_id": plan["plan_id"]}), "PlanChanged")
        .await;
    let made_up = json!({"masters": "replace", "plan_id": "p-000000000000"});
    bed.refused(made_up, "PlanChanged").await;
    bed.done(event).await;
}

#[tokio::test]
async fn the_order_of_the_start_is_part_of_the_plan() {
    let bed = RestoreBed::small().await;
    let plan = planned(&bed, &replace()).await;
    assert_says(&plan["text"], &["first"]);
    assert_eq!(plan["start_first"].as_array().unwrap().len(), 2, "{plan}");
    // Now another member is the newest.
    let snapshot = bed.newest_snapshot("main/a").await;
    let later = bed.now().await - HOUR;
    let moved = json!({"start_time": later.to_string()});
    let shown = strings(&plan["start_first"]);
    let newest = shown.iter().any(|member| member == "main/c");
    assert!(newest, "DLM takes c last: {shown:?}");
    bed.aws.set_snapshot(&snapshot, moved).await;
    bed.refused(by_id(&replace(), &plan), "PlanChanged").await;
}

#[tokio::test]
async fn a_plan_of_an_undo_tells_what_would_come_back_and_is_bound_to_it() {
    let bed = RestoreBed::small().await;
    let done = bed.done(json!({})).await;
    let undo = json!({"action": "undo"});
    let plan = planned(&bed, &undo).await;
    assert_eq!(plan["restore_id"], done["restore_id"]);
    for old in bed.old().values() {
        assert_says(&plan["text"], &[old.as_str()]);
    }
    let lost = answered_volumes(&done)["main/c"].clone();
    bed.cluster.lose_volume(&bed.aws, &lost).await;
    bed.refused(by_id(&undo, &plan), "PlanChanged").await;
    bed.undone(json!({})).await;
}

/// `plan` is refused for what the action itself would be refused for.
#[tokio::test]
async fn what_would_be_refused_is_not_planned() {
    let bed = RestoreBed::small().await;
    for of in ["undo", "redo"] {
        let event = json!({"action": "plan", "of": of});
        bed.refused(event, "RestoreNotFound").await;
    }
    bed.done(json!({})).await;
    bed.lose("main/a").await;
    let event = json!({"action": "plan", "of": "undo"});
    bed.refused(event, "UndoImpossible").await;
    for wrong in [
        json!({"of": "undo"}),
        json!({"action": "plan", "of": "list"}),
        json!({"action": "list", "plan_id": "p-1"}),
    ] {
        bed.refused(wrong, "InvalidEvent").await;
    }
}

/// Whoever sends a plan's event twice gets the same answer twice.
#[tokio::test]
async fn a_plan_that_was_carried_out_is_done() {
    let bed = RestoreBed::small().await;
    let plan = planned(&bed, &json!({})).await;
    let event = by_id(&json!({}), &plan);
    let done = bed.done(event.clone()).await;
    bed.aws.clear_calls().await;
    let repeated = bed.ask(event).await;
    assert_eq!(repeated["phase"], "done");
    assert_eq!(repeated["restore_id"], done["restore_id"]);
    bed.assert_nothing_written().await;
}

/// An unfinished restore that a plan's event began goes on, whatever came since.
#[tokio::test]
async fn a_plan_whose_restore_has_begun_goes_on() {
    let bed = RestoreBed::small().await;
    let plan = planned(&bed, &json!({})).await;
    let event = by_id(&json!({}), &plan);
    let denied = Fault::error("ec2", "DeleteTags", "UnauthorizedOperation", 403);
    bed.fails(event.clone(), denied.forever()).await;
    bed.next_morning().await;
    let done = bed.done(event).await;
    assert_eq!(done["restore_point"]["run"], plan["restore_point"]["run"]);
}
