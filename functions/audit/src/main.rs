//! The `audit` Lambda function.

use etcd_backup_aws::{Aws, function};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = function::settings_or_exit().await;
    let aws = Aws::from_environment().await;
    function::serve(env!("CARGO_BIN_NAME"), |invocation| {
        audit::handle(&aws, &settings, invocation)
    })
    .await
}
