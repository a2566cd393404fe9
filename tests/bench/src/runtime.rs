//! The Lambda runtime API for one process: it hands out one event and tells when it was asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::serve;

/// When the invocations' deadline is, from their start on: Lambda's greatest.
const DEADLINE_MS: i64 = 900_000;

/// A runtime API with one event.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    event: Mutex<Option<String>>,
    first_next: Mutex<Option<Instant>>,
    asked: Notify,
    answer: Mutex<Option<(Instant, Result<Value, String>)>>,
    answered: Notify,
}

impl RuntimeApi {
    /// Starts one. Without an event, whoever asks waits for ever.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start(event: Option<&Value>) -> Self {
        let shared = Arc::new(Shared {
            event: Mutex::new(event.map(Value::to_string)),
            ..Shared::default()
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&shared));
        let address = serve(router).await;
        Self { address, shared }
    }

    /// Lambda's own variables.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "bench".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "bench".to_owned()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench".to_owned()),
            ("AWS_REGION", "eu-west-2".to_owned()),
            ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Waits until the process asks for an event, and tells when it did.
    pub async fn first_next(&self) -> Instant {
        loop {
            let asked = self.shared.asked.notified();
            if let Some(at) = *lock(&self.shared.first_next) {
                return at;
            }
            asked.await;
        }
    }

    /// Waits for the answer, and tells when it came.
    ///
    /// # Errors
    ///
    /// The body of an error.
    pub async fn answer(&self) -> (Instant, Result<Value, String>) {
        loop {
            let answered = self.shared.answered.notified();
            if let Some(answer) = lock(&self.shared.answer).take() {
                return answer;
            }
            answered.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    lock(&shared.first_next).get_or_insert_with(Instant::now);
    shared.asked.notify_waiters();
    let event = lock(&shared.event).take();
    let Some(event) = event else {
        return std::future::pending().await;
    };
    let deadline = jiff::Timestamp::now().as_millisecond() + DEADLINE_MS;
    let headers = [
        ("lambda-runtime-aws-request-id", "00000000-bench".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-2:123456789012:function:bench".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5e1b4151-5ac6c58c5b5d5d5d5d5d5d5d".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event).into_response()
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(_id): Path<String>,
    body: Bytes,
) -> StatusCode {
    let answer = serde_json::from_slice(&body).map_err(|error| error.to_string());
    shared.end(answer)
}

async fn error(
    State(shared): State<Arc<Shared>>,
    Path(_id): Path<String>,
    body: Bytes,
) -> StatusCode {
    shared.end(Err(String::from_utf8_lossy(&body).into_owned()))
}

impl Shared {
    fn end(&self, answer: Result<Value, String>) -> StatusCode {
        *lock(&self.answer) = Some((Instant::now(), answer));
        self.answered.notify_waiters();
        StatusCode::ACCEPTED
    }
}
