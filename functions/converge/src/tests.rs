//! converge as a whole on an account in memory: created, broken, repaired, interrupted.

use std::time::Duration;

use etcd_backup_core::lifecycle_policy::SCHEDULE_SINCE;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::answer::Outcome;
use crate::fake_account::{Failure, FakeAccount};

use super::*;

const NOW: &str = "2026-11-22T05:30:00.25Z";

fn settings(variable: &str, value: &str) -> Settings {
    Settings::from_variables(&|name| (name == variable).then(|| value.to_owned())).unwrap()
}

async fn run_with(
    account: &FakeAccount,
    settings: &Settings,
    action: Action,
) -> Result<Answer, Diagnostic> {
    let deployment =
        Deployment::of_function("arn:aws:lambda:eu-west-2:123456789012:function:converge")?;
    let now = NOW.parse().unwrap();
    converge(
        account,
        settings,
        &deployment,
        action,
        now,
        Patience::short(),
    )
    .await
}

async fn run(account: &FakeAccount, action: Action) -> Result<Answer, Diagnostic> {
    run_with(account, &settings("", ""), action).await
}

async fn converged() -> FakeAccount {
    let account = FakeAccount::default();
    run(&account, Action::Apply).await.unwrap();
    account.writes.take();
    account
}

#[tokio::test]
async fn from_nothing_everything_is_made_and_then_nothing_changes() {
    let account = FakeAccount::default();
    let planned = run(&account, Action::Plan).await.unwrap();
    assert_eq!(planned.outcome, Outcome::Drifted);
    assert!(account.writes.borrow().is_empty());
    insta::assert_snapshot!(planned.text, @r#"
      + iam-role "dlm-lifecycle-role"
      + iam-policy "dlm-policy"
      + iam-attachment "dlm-lifecycle-role/dlm-policy"
      + dlm-policy "etcd data lifecycle policy"

    Plan: 4 to create.
    "#);
    let applied = run(&account, Action::Apply).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Changed);
    assert_eq!(applied.policy_id, Some("policy-0".into()));
    assert_eq!(applied.changes, planned.changes);
    assert_eq!(
        account.policies.borrow()[0].tags[SCHEDULE_SINCE],
        "2026-11-22T05:30:00Z"
    );

    account.writes.take();
    account.reads();
    let again = run(&account, Action::Apply).await.unwrap();
    assert_eq!((again.outcome, account.reads()), (Outcome::Unchanged, 6));
    assert_eq!(again.text, "Nothing to change.");
    assert!(account.writes.borrow().is_empty());
}

#[tokio::test]
async fn the_answer_has_the_documented_shape() {
    let account = converged().await;
    account.policies.borrow_mut()[0].state =
        etcd_backup_core::lifecycle_policy::PolicyState::Disabled;
    let answer = run(&account, Action::Apply).await.unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({
            "action": "apply",
            "outcome": "changed",
            "policy_id": "policy-0",
            "role_arn": "arn:aws:iam::123456789012:role/dlm-lifecycle-role",
            "changes": [{
                "operation": "update",
                "resource": "dlm-policy",
                "name": "etcd data lifecycle policy",
                "differences": [{"field": "state", "actual": "DISABLED", "desired": "ENABLED"}],
            }],
            "warnings": [],
            "text": "  ~ dlm-policy \"etcd data lifecycle policy\"\n      state: DISABLED → ENABLED\n\n\
                     Done: 1 updated.",
        })
    );
}

/// Fails every write in turn, in every way, and runs again: no matter where a run ended, the next
/// one ends with one of everything, as it should be.
#[tokio::test]
async fn a_run_that_ended_anywhere_is_finished_by_the_next() {
    for number in 0..4 {
        for failure in [
            Failure::Refused("AccessDenied"),
            Failure::Lost,
            Failure::AnswerLost,
        ] {
            let account = FakeAccount::default();
            account.failures.borrow_mut().insert(number, failure);
            let first = run(&account, Action::Apply).await;
            let found = number == 3 && failure == Failure::AnswerLost;
            assert_eq!(first.is_ok(), found, "write {number} {failure:?}");
            if !found {
                run(&account, Action::Apply).await.unwrap();
            }
            let last = run(&account, Action::Apply).await.unwrap();
            assert_eq!(
                last.outcome,
                Outcome::Unchanged,
                "write {number} {failure:?}"
            );
            assert_eq!(
                account.policies.borrow().len(),
                1,
                "write {number} {failure:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_policy_whose_making_is_uncertain_is_not_made_twice_in_one_run() {
    let account = FakeAccount::default();
    account.failures.borrow_mut().insert(3, Failure::Lost);
    let error = run(&account, Action::Apply).await.unwrap_err();
    insta::assert_snapshot!(error, @"AwsError: dlm:CreateLifecyclePolicy got no answer: connection closed; whether the policy was made is unknown, and the next run looks before it makes one");
    let creations = account
        .writes
        .borrow()
        .iter()
        .filter(|write| write.ends_with("LifecyclePolicy"))
        .count();
    assert_eq!(creations, 1);
}

#[tokio::test]
async fn a_role_that_is_new_and_calls_that_are_too_many_are_waited_for() {
    for code in ["InvalidRequestException", "ThrottlingException"] {
        let account = FakeAccount::default();
        account
            .failures
            .borrow_mut()
            .extend([(3, Failure::Refused(code)), (4, Failure::Refused(code))]);
        assert_eq!(
            run(&account, Action::Apply).await.unwrap().outcome,
            Outcome::Changed,
            "{code}"
        );
        assert_eq!(account.writes.borrow().len(), 6);
    }
}

#[tokio::test]
async fn a_settled_role_makes_a_bad_request_final() {
    let account = converged().await;
    account.policies.take();
    account
        .failures
        .borrow_mut()
        .insert(0, Failure::Refused("InvalidRequestException"));
    assert!(run(&account, Action::Apply).await.is_err());
    assert_eq!(*account.writes.borrow(), ["dlm:CreateLifecyclePolicy"]);
}

#[tokio::test]
async fn a_change_of_the_schedule_is_recorded_even_if_a_run_ends_midway() {
    let fortnight = settings("RETAIN_COUNT", "30");
    let since = |account: &FakeAccount| {
        account.policies.borrow()[0]
            .tags
            .get(SCHEDULE_SINCE)
            .cloned()
    };
    for before in [None, Some("2026-01-01T00:00:00Z")] {
        for (failure, recorded) in [
            (Failure::Refused("AccessDenied"), before),
            (Failure::Lost, Some("2026-11-22T05:30:00Z")),
            (Failure::AnswerLost, Some("2026-11-22T05:30:00Z")),
        ] {
            let account = converged().await;
            {
                let tags = &mut account.policies.borrow_mut()[0].tags;
                tags.remove(SCHEDULE_SINCE);
                tags.extend(before.map(|before| (SCHEDULE_SINCE.to_owned(), before.to_owned())));
            }
            account.failures.borrow_mut().insert(1, failure);
            assert!(run_with(&account, &fortnight, Action::Apply).await.is_err());
            assert_eq!(
                since(&account).as_deref(),
                recorded,
                "{before:?} {failure:?}"
            );
            account.failures.take();
            run_with(&account, &fortnight, Action::Apply).await.unwrap();
            assert_eq!(since(&account).as_deref(), Some("2026-11-22T05:30:00Z"));
        }
    }
}

#[tokio::test]
async fn ten_documents_in_a_row_fit_into_five_versions() {
    let account = converged().await;
    let arn = "arn:aws:iam::123456789012:policy/dlm-policy";
    for number in 0..10 {
        {
            let mut policies = account.role_policies.borrow_mut();
            let (_, versions) = policies.get_mut(arn).unwrap();
            versions.last_mut().unwrap().1 = format!("not even JSON, {number}");
        }
        assert_eq!(
            run(&account, Action::Apply).await.unwrap().outcome,
            Outcome::Changed
        );
        assert_eq!(
            run(&account, Action::Plan).await.unwrap().outcome,
            Outcome::Unchanged
        );
    }
    let policies = account.role_policies.borrow();
    let numbers: Vec<_> = policies[arn].1.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [7, 8, 9, 10, 11]);
}

fn sample(name: &str) -> Value {
    let path = format!(
        "{}/../../events/converge/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn policy_error(account: &FakeAccount, settings: &Settings) -> Result<Answer, Diagnostic> {
    let invocation = Invocation {
        event: sample("policy-error.json"),
        now: NOW.parse().unwrap(),
        deadline: Instant::now() + Duration::from_millis(40),
        deployment: Deployment::of_function(
            "arn:aws:lambda:eu-west-2:123456789012:function:converge",
        )?,
    };
    handle(account, settings, invocation).await
}

#[tokio::test]
async fn a_policy_in_error_is_told_to_people() {
    let topic = settings(
        "ALERT_TOPIC_ARN",
        "arn:aws:sns:eu-west-2:123456789012:alerts",
    );
    let account = converged().await;
    {
        let policy = &mut account.policies.borrow_mut()[0];
        policy.id = "policy-0123456789abcdef0".into();
        policy.state = etcd_backup_core::lifecycle_policy::PolicyState::Error;
        policy.status_message = Some("no permission".to_owned());
    }
    policy_error(&account, &topic).await.unwrap();
    let alerts = account.alerts.take();
    assert_eq!(alerts.len(), 1);
    insta::assert_snapshot!(alerts[0].subject, @"CRITICAL: DLM stopped making etcd snapshots: policy-0123456789abcdef0 in eu-west-2");
    insta::assert_snapshot!(alerts[0].body, @r#"
    DLM put policy-0123456789abcdef0 into the state ERROR at 2026-11-22T06:31:04Z. While it is in it, the policy neither makes nor deletes snapshots.

    Account: 123456789012
    Region:  eu-west-2
    Cause:   Role provided does not have sufficient permissions

    converge put right what it found different; if the cause lies elsewhere, DLM will give up again:

      ~ dlm-policy "etcd data lifecycle policy"
          state: ERROR → ENABLED

    Done: 1 updated.

    Warning: DLM had given up on policy-0123456789abcdef0: no permission; if it does so again, the cause is still there.

    What to do:
    1. Remove the cause above if it is not among what converge changed: a service control policy or a permissions boundary that keeps the role from EC2, a KMS key that the role may not use, the Region's limit of snapshots.
    2. See what DLM says now: aws dlm get-lifecycle-policy --region eu-west-2 --policy-id policy-0123456789abcdef0
    3. After the next run, see in the audit's answer whether it left snapshots.
    "#);
    insta::assert_debug_snapshot!(alerts[0].attributes, @r#"
    [
        (
            "severity",
            Text(
                "critical",
            ),
        ),
        (
            "kinds",
            List(
                [
                    "policy_not_enabled",
                ],
            ),
        ),
    ]
    "#);
}

#[tokio::test]
async fn people_are_told_even_if_converging_fails() {
    let topic = settings(
        "ALERT_TOPIC_ARN",
        "arn:aws:sns:eu-west-2:123456789012:alerts",
    );
    let account = FakeAccount::default();
    account
        .failures
        .borrow_mut()
        .insert(0, Failure::Refused("AccessDenied"));
    assert!(policy_error(&account, &topic).await.is_err());
    let alerts = account.alerts.take();
    let failure =
        "converge could not put it right: AwsError: iam:CreateRole failed with AccessDenied";
    assert!(alerts[0].body.contains(failure), "{}", alerts[0].body);
}

#[tokio::test]
async fn without_a_topic_the_answer_says_that_nobody_was_told() {
    let answer = policy_error(&converged().await, &settings("", ""))
        .await
        .unwrap();
    insta::assert_snapshot!(answer.text, @"
    Nothing to change.

    Warning: DLM put policy-0123456789abcdef0 into the state ERROR (Role provided does not have sufficient permissions) and nobody was told, as ALERT_TOPIC_ARN is not set.
    ");
}
