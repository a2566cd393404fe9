//! The `verify` Lambda function.

use etcd_backup_aws::{Aws, function};

// Blocks are received, decrypted and hashed on the runtime's threads while members are read on others.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = function::settings_or_exit().await;
    let aws = Aws::from_environment().await;
    function::serve(env!("CARGO_BIN_NAME"), |invocation| {
        verify::handle(&aws, &settings, invocation)
    })
    .await
}
