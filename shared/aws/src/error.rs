//! SDK errors as the core crate's [`AwsError`].

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use etcd_backup_core::aws::AwsError;

/// EC2's throttling code, sent as a server error though nothing was done.
const EC2_THROTTLED: &str = "RequestLimitExceeded";

/// Turns an SDK error into the project's own; use it as `.map_err(aws_error("ec2:CreateVolume"))`.
pub(crate) fn aws_error<E>(
    operation: &'static str,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| match error.as_service_error() {
        Some(refusal) => AwsError {
            operation,
            code: refusal.code().map(str::to_owned).or_else(|| status(&error)),
            message: refusal.message().unwrap_or("no message").trim().to_owned(),
            request_id: request_id(refusal, error.raw_response()),
            certainly_refused: refusal.code() == Some(EC2_THROTTLED)
                || error
                    .raw_response()
                    .is_some_and(|response| response.status().is_client_error()),
        },
        None => AwsError {
            operation,
            code: None,
            request_id: error.raw_response().and_then(header_request_id),
            certainly_refused: matches!(error, SdkError::ConstructionFailure(_)),
            message: chain(&error),
        },
    }
}

/// What went wrong on the way, cause by cause.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let status = error.raw_response()?.status().as_u16();
    Some(format!("HTTP {status}"))
}

/// EC2, IAM and SNS give the request id in the body, DLM in a header.
fn request_id(
    refusal: &impl ProvideErrorMetadata,
    response: Option<&HttpResponse>,
) -> Option<String> {
    refusal
        .meta()
        .extra("aws_request_id")
        .map(str::to_owned)
        .or_else(|| header_request_id(response?))
}

fn header_request_id(response: &HttpResponse) -> Option<String> {
    let headers = response.headers();
    let id = headers
        .get("x-amzn-requestid")
        .or_else(|| headers.get("x-amz-request-id"))?;
    Some(id.to_owned())
}

/// An answer that lacks what AWS documents as always there.
pub(crate) fn incomplete(operation: &'static str) -> AwsError {
    AwsError {
        operation,
        code: Some("IncompleteAnswer".to_owned()),
        message: "the answer lacks a field that AWS always gives".to_owned(),
        request_id: None,
        certainly_refused: false,
    }
}
