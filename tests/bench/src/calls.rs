//! Functions that make calls and nothing else.

/// The `main` of a function that makes each of these calls once, asking for nothing in particular.
#[macro_export]
macro_rules! function_of_calls {
    ($($client:ty: $($call:ident)+;)+) => {
        #[tokio::main(flavor = "current_thread")]
        async fn main() -> Result<(), lambda_runtime::Error> {
            let latest = aws_config::BehaviorVersion::latest();
            let config = &aws_config::load_defaults(latest).await;
            let call = |_: lambda_runtime::LambdaEvent<serde_json::Value>| async move {
                $(
                    let client = <$client>::new(config);
                    $(client.$call().send().await?;)+
                )+
                Ok::<_, lambda_runtime::Error>(())
            };
            lambda_runtime::run(lambda_runtime::service_fn(call)).await
        }
    };
}
