//! The converge function: keeps DLM's role, IAM policy and lifecycle policy as the settings say.

#![recursion_limit = "256"]

use etcd_backup_aws::Aws;
use etcd_backup_aws::function::{serve, settings_or_exit};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = settings_or_exit().await;
    let aws = Aws::from_environment().await;
    serve(env!("CARGO_BIN_NAME"), |invocation| {
        converge::handle(&aws, &settings, invocation)
    })
    .await
}
