//! SNS: alerts.

use aws_sdk_sns::types::MessageAttributeValue;
use etcd_backup_core::alert::{Alert, AlertAttribute, Message};
use etcd_backup_core::aws::{Alerts, AwsError};

use crate::Aws;
use crate::error::{aws_error, incomplete};

impl Alerts for Aws {
    async fn publish(&self, topic_arn: &str, alert: &Alert) -> Result<String, AwsError> {
        const OPERATION: &str = "sns:Publish";
        let request = self
            .sns()
            .publish()
            .topic_arn(topic_arn)
            .subject(&alert.subject);
        let mut request = match alert.message() {
            Message::ForAll(text) => request.message(text),
            Message::ByProtocol(texts) => request.message(texts).message_structure("json"),
        };
        for (name, attribute) in &alert.attributes {
            let data_type = match attribute {
                AlertAttribute::Text(_) => "String",
                // A filter policy matches on any element of a String.Array.
                AlertAttribute::List(_) => "String.Array",
            };
            let value = MessageAttributeValue::builder()
                .data_type(data_type)
                .string_value(attribute.value())
                .build()
                .map_err(|error| AwsError {
                    operation: OPERATION,
                    code: None,
                    message: error.to_string(),
                    request_id: None,
                    certainly_refused: true,
                })?;
            request = request.message_attributes(*name, value);
        }
        let published = request.send().await.map_err(aws_error(OPERATION))?;
        Ok(published
            .message_id()
            .ok_or_else(|| incomplete(OPERATION))?
            .to_owned())
    }
}
