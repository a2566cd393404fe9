//! A function's life: settings at start, then one invocation after the other.
//!
//! This is the only place that reads the clock and the environment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::settings::{SettingError, Settings};
use etcd_backup_core::version::{VERSION, Version};
use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

/// One invocation, with all that the function may know of its surroundings.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Differs from that of any other invocation: Lambda's own retries have their request's id in common,
    /// so that there is more to it than that.
    pub id: String,
    /// The event, as it came.
    pub event: Value,
    /// The clock, read once.
    pub now: Timestamp,
    /// The clock, for those whose work takes minutes.
    pub clock: fn() -> Timestamp,
    /// When the invocation began, to measure how long it took.
    pub started: Instant,
    /// When Lambda ends the invocation.
    pub deadline: Instant,
    /// Partition, Region and account.
    pub deployment: Deployment,
}

/// Reads the settings from the environment. A bad one is reported and the process ends: a function
/// that started in spite of a bad setting would not do what its operator wants.
pub async fn settings_or_exit() -> Settings {
    match Settings::from_variables(&|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => exit_for(&error).await,
    }
}

/// The table of restores, without which restore doesn't start.
pub async fn restores_table_or_exit(settings: &Settings) -> String {
    match &settings.restores_table {
        Some(table) => table.clone(),
        None => {
            exit_for(&SettingError {
                variable: "RESTORES_TABLE",
                value: String::new(),
                expected: "the name of the DynamoDB table that holds the records of restores"
                    .to_owned(),
            })
            .await
        }
    }
}

async fn exit_for(error: &SettingError) -> ! {
    eprintln!("{}: {error}", ErrorType::InvalidSetting.name());
    report_to_lambda(error).await;
    std::process::exit(1)
}

/// Tells Lambda why the function doesn't start, so that a caller reads the reason and not only
/// "exit status 1". Best effort: the line on stderr and the exit code say it all the same.
async fn report_to_lambda(error: &SettingError) {
    let Ok(endpoint) = std::env::var("AWS_LAMBDA_RUNTIME_API") else {
        return;
    };
    let body = serde_json::json!({
        "errorType": ErrorType::InvalidSetting.name(),
        "errorMessage": error.to_string(),
        "stackTrace": [],
    });
    let _ = post(
        &endpoint,
        "/2018-06-01/runtime/init/error",
        &body.to_string(),
    )
    .await;
}

/// A POST without a client library: the runtime API is plain HTTP on the loopback, and
/// `lambda_runtime` doesn't expose initialization errors.
async fn post(endpoint: &str, path: &str, body: &str) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(endpoint).await?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {endpoint}\r\nContent-Type: application/json\r\n\
             Lambda-Runtime-Function-Error-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            ErrorType::InvalidSetting.name(),
            body.len(),
        );
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    };
    tokio::time::timeout(Duration::from_secs(2), exchange).await?
}

/// What every function answers, and its own.
#[derive(Serialize)]
#[serde(untagged)]
enum Answered<Answer> {
    Version(Version),
    Function(Answer),
}

/// Serves invocations of the function of this name until Lambda stops the process.
///
/// # Errors
///
/// When the runtime API can't be reached.
pub async fn serve<Answer, Handling>(
    name: &'static str,
    handle: impl Fn(Invocation) -> Handling,
) -> Result<(), lambda_runtime::Error>
where
    Answer: Serialize,
    Handling: Future<Output = Result<Answer, Diagnostic>>,
{
    lambda_runtime::tracing::init_default_subscriber();
    tracing::info!(function = name, version = VERSION, "started");
    let handle = &handle;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let answer = match Version::asked(&event.payload, name) {
            Ok(Some(version)) => Ok(Answered::Version(version)),
            // The future is boxed, as that of a whole function is too deep for the compiler to lay out
            // inline.
            Ok(None) => match invocation(event) {
                Ok(invocation) => Box::pin(handle(invocation)).await.map(Answered::Function),
                Err(diagnostic) => Err(diagnostic),
            },
            Err(diagnostic) => Err(diagnostic),
        };
        answer.map_err(|diagnostic| {
            tracing::error!(
                error_type = diagnostic.error_type.name(),
                aws_request_id = diagnostic
                    .aws_error()
                    .and_then(|error| error.request_id.as_deref()),
                "{}",
                diagnostic.message
            );
            lambda_runtime::Diagnostic {
                error_type: diagnostic.error_type.name().to_owned(),
                error_message: diagnostic.message,
            }
        })
    }))
    .await
}

fn invocation(event: LambdaEvent<Value>) -> Result<Invocation, Diagnostic> {
    let (now, started) = (Timestamp::now(), Instant::now());
    let left_ms = i128::from(event.context.deadline) - i128::from(now.as_millisecond());
    Ok(Invocation {
        id: invocation_id(&event.context.request_id),
        event: event.payload,
        now,
        clock: Timestamp::now,
        started,
        deadline: started + Duration::from_millis(left_ms.max(0).try_into().unwrap_or(0)),
        deployment: Deployment::of_function(&event.context.invoked_function_arn)?,
    })
}

/// The request's id, by which the logs know it, and what the operating system gives as random.
fn invocation_id(request_id: &str) -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{request_id}.{random:016x}")
}
