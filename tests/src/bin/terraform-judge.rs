//! Terraform as the judge of converge: what the one made, the other must find nothing to change in.
//! Needs `terraform` and its AWS provider, which a fresh machine lacks; so `make test` leaves it out.

use std::path::Path;
use std::process::Command;

use aws_sdk_dlm::types::SettablePolicyStateValues;
use e2e::{EmulatedAws, Function};
use serde_json::json;

const ROLE: &str = "dlm-lifecycle-role";
const POLICY_ARN: &str = "arn:aws:iam::123456789012:policy/dlm-policy";

#[tokio::main]
async fn main() {
    converge_then_terraform().await;
    terraform_then_converge().await;
    rich_policy_is_adopted().await;
    println!("Terraform and converge agree.");
}

async fn converge_then_terraform() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let made = converge
        .invoke(json!({}))
        .await
        .expect("converge makes all");
    let policy_id = made["policy_id"]
        .as_str()
        .expect("converge names the policy");
    let folder = Folder::new(&aws);
    for (address, id) in [
        ("aws_iam_role.dlm", ROLE),
        ("aws_iam_policy.dlm", POLICY_ARN),
        (
            "aws_iam_role_policy_attachment.dlm",
            &format!("{ROLE}/{POLICY_ARN}"),
        ),
        ("aws_dlm_lifecycle_policy.dlm", policy_id),
    ] {
        folder.terraform(&["import", "-no-color", "-input=false", address, id]);
    }
    // Exit code 2 would be a change.
    folder.terraform(&["plan", "-no-color", "-input=false", "-detailed-exitcode"]);
    println!("What converge made, Terraform would not change.");
}

async fn terraform_then_converge() {
    let aws = EmulatedAws::start().await;
    let folder = Folder::new(&aws);
    folder.terraform(&["apply", "-no-color", "-input=false", "-auto-approve"]);
    let converge = Function::start(&aws, "converge", &[]).await;
    let plan = converge
        .invoke(json!({"action": "plan"}))
        .await
        .expect("converge plans");
    assert_eq!(plan["outcome"], "unchanged", "{}", plan["text"]);
    println!("What Terraform made, converge would not change.");
}

/// Terraform's policy says more than the settings do. converge adopts it, puts back what somebody
/// changed of its own fields, and Terraform finds nothing of the rest changed.
async fn rich_policy_is_adopted() {
    const RICH: &str = "-var=rich=true";
    let aws = EmulatedAws::start().await;
    let folder = Folder::new(&aws);
    folder.terraform(&["apply", "-no-color", "-input=false", "-auto-approve", RICH]);
    let converge = Function::start(&aws, "converge", &[]).await;
    let plan = converge
        .invoke(json!({"action": "plan"}))
        .await
        .expect("converge plans");
    assert_eq!(plan["outcome"], "unchanged", "{}", plan["text"]);
    assert_ne!(plan["warnings"], json!([]), "what is kept is told");

    let policy_id = plan["policy_id"]
        .as_str()
        .expect("converge names the policy");
    let update = aws.dlm().update_lifecycle_policy().policy_id(policy_id);
    let update = update.state(SettablePolicyStateValues::Disabled);
    update.send().await.expect("the policy can be disabled");
    let repaired = converge.invoke(json!({})).await.expect("converge repairs");
    assert_eq!(repaired["outcome"], "changed", "{}", repaired["text"]);
    // Exit code 2 would be a change.
    folder.terraform(&[
        "plan",
        "-no-color",
        "-input=false",
        "-detailed-exitcode",
        RICH,
    ]);
    println!("What Terraform made and converge adopted and repaired, Terraform would not change.");
}

/// A folder for Terraform to work in, with its state and provider; gone when dropped.
struct Folder {
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Folder {
    fn new(aws: &EmulatedAws) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform/main.tf");
        std::fs::copy(source, folder.path().join("main.tf")).expect("main.tf can be copied");
        let folder = Self {
            folder,
            endpoint: aws.endpoint().to_owned(),
        };
        folder.terraform(&["init", "-no-color", "-input=false"]);
        folder
    }

    fn terraform(&self, arguments: &[&str]) {
        let output = Command::new("terraform")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TF_VAR_endpoint", &self.endpoint)
            .output()
            .expect("terraform is on the PATH");
        assert!(
            output.status.success(),
            "terraform {arguments:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
