//! The fleets that kops makes, whatever its version: each, backed up for sixteen days, audits clean.
//!
//! As many of them as have different names share an account, and each account has an AWS of its own.

use std::time::Duration;

use e2e::{EmulatedAws, Function, KopsFleet, kops_accounts};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAYS: u32 = 16;
/// How many tests the accounts are spread over.
const PARTS: usize = 3;

/// The audit of an account that holds these fleets, on the morning of the last day.
async fn audit(account: &[KopsFleet]) -> Value {
    let aws = EmulatedAws::start().await;
    aws.set_clock(e2e::backed_up::next_noon(aws.clock().await))
        .await;
    for fleet in account {
        fleet.seed(&aws).await;
    }
    let converge = Function::start(&aws, "converge", &[]).await;
    let answer = converge.invoke(json!({})).await;
    answer.unwrap_or_else(|error| panic!("converge: {error}"));
    aws.advance(DAY * DAYS).await;
    let audit = Function::start(&aws, "audit", &[]).await;
    let answer = audit.invoke(json!({"now": aws.clock().await})).await;
    answer.unwrap_or_else(|error| panic!("audit: {error}\n{}", audit.logs()))
}

async fn part(index: usize) {
    let accounts = kops_accounts();
    for account in accounts.iter().skip(index).step_by(PARTS) {
        let answer = audit(account).await;
        let names: Vec<&str> = account.iter().map(|fleet| fleet.name.as_str()).collect();
        let text = answer["text"].as_str().expect("a text");
        assert_eq!(answer["worst"], "ok", "{names:?}\n{text}");
        let volumes: usize = account.iter().map(|fleet| fleet.volumes.len()).sum();
        assert_eq!(answer["summary"]["clusters"], account.len());
        assert_eq!(answer["summary"]["volumes_covered"], volumes);
        assert_eq!(answer["summary"]["snapshots"], 14 * volumes);
        for cluster in answer["clusters"].as_array().expect("clusters") {
            assert_eq!(cluster["restore_points"], 14, "{names:?}\n{text}");
        }
    }
}

#[tokio::test]
async fn kops_fleets_audit_clean_first_part() {
    part(0).await;
}

#[tokio::test]
async fn kops_fleets_audit_clean_second_part() {
    part(1).await;
}

#[tokio::test]
async fn kops_fleets_audit_clean_third_part() {
    part(2).await;
}
