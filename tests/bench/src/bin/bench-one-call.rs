//! The smallest function that makes one call of EC2 with the SDK, to see what of a start, and of what is
//! uploaded, is the SDK's.

use aws_config::BehaviorVersion;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let ec2 = &aws_sdk_ec2::Client::new(&config);
    let count = |_: LambdaEvent<Value>| async move {
        let answer = ec2.describe_volumes().send().await?;
        Ok::<_, lambda_runtime::Error>(answer.volumes().len())
    };
    lambda_runtime::run(service_fn(count)).await
}
