//! CloudFormation's response URLs: a body is put to a pre-signed address of S3.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnectorSettings;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use etcd_backup_core::aws::{AwsError, Responder};

use crate::{Aws, http};

const OPERATION: &str = "PUT to the ResponseURL";
const TIMEOUT: Duration = Duration::from_secs(5);
/// CloudFormation waits for nothing but this answer: a lost packet must not cost a deployment.
const ATTEMPTS_MAX: u32 = 4;

impl Responder for Aws {
    async fn respond(&self, url: &str, body: &str) -> Result<(), AwsError> {
        let mut pause = Duration::from_millis(200);
        let mut attempt = 1;
        loop {
            match put(url, body).await {
                Err(error) if attempt < ATTEMPTS_MAX && !error.certainly_refused => {
                    tracing::warn!("{error}; trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

/// Connects as the calls to AWS do, so that there is one TLS to trust, and one way through a proxy.
async fn put(url: &str, body: &str) -> Result<(), AwsError> {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .build();
    let connector = http::connector(settings);
    let mut request = HttpRequest::new(SdkBody::from(body));
    let method = request.set_method("PUT");
    method.map_err(|error| failed(error.to_string()))?;
    let uri = request.set_uri(url);
    uri.map_err(|error| refused(None, error.to_string()))?;
    // The URL's signature covers no content type, so that none may be sent.
    let length = body.len().to_string();
    request.headers_mut().insert("content-length", length);
    let answer = aws_smithy_runtime_api::client::http::HttpConnector::call(&connector, request);
    let answer = answer.await.map_err(|error| failed(error.to_string()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status if status.is_client_error() => Err(refused(
            Some(status.as_u16()),
            "it may have expired".to_owned(),
        )),
        status => Err(failed(format!("HTTP {}", status.as_u16()))),
    }
}

fn failed(message: String) -> AwsError {
    AwsError {
        operation: OPERATION,
        code: None,
        message,
        request_id: None,
        certainly_refused: false,
    }
}

fn refused(status: Option<u16>, message: String) -> AwsError {
    AwsError {
        code: status.map(|status| format!("HTTP {status}")),
        certainly_refused: true,
        ..failed(message)
    }
}
