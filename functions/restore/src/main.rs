//! The `restore` Lambda function.

use etcd_backup_aws::{Aws, function};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = function::settings_or_exit().await;
    let table = function::restores_table_or_exit(&settings).await;
    let aws = Aws::from_environment().await;
    function::serve(env!("CARGO_BIN_NAME"), |invocation| {
        restore::handle(&aws, &settings, &table, invocation)
    })
    .await
}
