//! The smallest function that `lambda_runtime` allows, to see what of a start is its own.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let hello =
        |event: LambdaEvent<Value>| async move { Ok::<_, lambda_runtime::Error>(event.payload) };
    lambda_runtime::run(service_fn(hello)).await
}
