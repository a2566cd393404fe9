//! Cut off, throttled or unheard, and never a second policy.

use super::*;

#[tokio::test]
async fn a_run_that_was_killed_at_any_call_is_finished_by_the_next() {
    let mut boundaries = 0;
    for nth in 1.. {
        for point in [CrashPoint::Before(nth), CrashPoint::After(nth)] {
            let aws = EmulatedAws::start().await;
            let mut converge = Function::start(&aws, "converge", &[]).await;
            if converge
                .invoke_and_crash(&aws, json!({}), point)
                .await
                .is_some()
            {
                assert!(boundaries >= 18, "only {boundaries} boundaries were tried");
                println!("{boundaries} boundaries tried");
                return;
            }
            boundaries += 1;
            converge.restart().await;
            invoke(&converge, json!({})).await;
            let last = invoke(&converge, json!({})).await;
            assert_eq!(last["outcome"], "unchanged", "{point:?}: {}", last["text"]);
            assert_eq!(policy_ids(&aws).await.len(), 1, "{point:?}");
        }
    }
}

#[tokio::test]
async fn lost_answers_and_throttling_never_make_a_second_policy() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    for (service, operation) in [
        ("iam", "CreateRole"),
        ("iam", "CreatePolicy"),
        ("iam", "AttachRolePolicy"),
        ("dlm", "CreateLifecyclePolicy"),
    ] {
        aws.fault(Fault::drop_answer(service, operation)).await;
    }
    let first = converge.invoke(json!({})).await;
    let second = invoke(&converge, json!({})).await;
    assert_eq!(policy_ids(&aws).await.len(), 1, "{first:?}");
    assert_eq!(second["policy_id"], policy_ids(&aws).await[0].as_str());
    let third = invoke(&converge, json!({})).await;
    assert_eq!(third["outcome"], "unchanged", "{}", third["text"]);

    aws.dlm()
        .delete_lifecycle_policy()
        .policy_id(&policy_ids(&aws).await[0])
        .send()
        .await
        .unwrap();
    aws.fault(Fault::error("dlm", "CreateLifecyclePolicy", "ThrottlingException", 429).times(2))
        .await;
    aws.fault(Fault::drop_request("dlm", "CreateLifecyclePolicy").nth(3))
        .await;
    let _ = converge.invoke(json!({})).await;
    invoke(&converge, json!({})).await;
    assert_eq!(policy_ids(&aws).await.len(), 1);
}

#[tokio::test]
async fn a_role_that_is_too_new_to_be_assumed_is_waited_for() {
    let aws = EmulatedAws::start().await;
    aws.settings(json!({"role_assumable_after_seconds": 3}))
        .await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let made = invoke(&converge, json!({})).await;
    assert_eq!(made["outcome"], "changed");
    let tries = aws
        .calls()
        .await
        .into_iter()
        .filter(|call| call.operation == "CreateLifecyclePolicy");
    assert!(tries.count() > 1);
    assert_eq!(policy_ids(&aws).await.len(), 1);
}
