//! The `audit` Lambda function.

use etcd_backup_aws::{Aws, function};

// Pages of snapshots are received and parsed on the runtime's threads while earlier ones are read.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = function::settings_or_exit().await;
    let aws = Aws::from_environment().await;
    function::serve(env!("CARGO_BIN_NAME"), |invocation| {
        audit::handle(&aws, &settings, invocation)
    })
    .await
}
