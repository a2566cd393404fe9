//! Whatever the texts are, chat applications take the notification and SNS takes the message.

use std::collections::BTreeMap;

use etcd_backup_core::alert::{
    ATTRIBUTES_BYTES_MAX, Alert, BODY_BYTES_MAX, Message, Notification, json_bytes,
};
use etcd_backup_core::settings::AlertFormat;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// SNS's limit of a message with its attributes.
const SNS_BYTES_MAX: usize = 256 * 1024;

fn faults(notification: &Value) -> Vec<String> {
    let schema = serde_json::from_str(include_str!("chat_notification.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults = validator.iter_errors(notification);
    faults.map(|fault| fault.to_string()).collect()
}

/// Of any characters, and of those that take the most room once they are written.
fn text(length_max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        ("[\"\\\\\n<]|\\PC", 0..length_max).prop_map(|(text, count)| text.repeat(count)),
    ]
}

fn notification() -> impl Strategy<Value = Notification> {
    let texts = || vec(text(1_000), 0..20);
    (
        text(1_000).prop_filter("a title says something", |title| !title.is_empty()),
        text(20_000).prop_filter("so does a description", |text| !text.is_empty()),
        texts(),
        texts(),
        texts(),
        text(1_000),
    )
        .prop_map(
            |(title, description, next_steps, keywords, related_resources, context)| Notification {
                title,
                description,
                next_steps,
                keywords,
                thread_id: Some(format!("thread-{context}")),
                event_type: "etcd-backup-audit",
                related_resources,
                additional_context: BTreeMap::from([("a", context.clone()), ("b", context)]),
            },
        )
}

proptest! {
    #[test]
    fn any_notification_is_of_the_schema_and_fits_beside_the_longest_body(
        notification in notification(),
    ) {
        prop_assert_eq!(faults(&notification.to_json()), Vec::<String>::new());
        let body = "\"\n".repeat(BODY_BYTES_MAX / 4);
        prop_assert_eq!(json_bytes(&body), BODY_BYTES_MAX);
        let alert = Alert {
            subject: "etcd backup".to_owned(),
            body,
            chat: Some(notification.clone()),
            attributes: Vec::new(),
        };
        let Message::ByProtocol(message) = alert.message() else {
            panic!("{alert:?}");
        };
        prop_assert!(message.len() + ATTRIBUTES_BYTES_MAX < SNS_BYTES_MAX, "{} bytes", message.len());
        let by_protocol: Value = serde_json::from_str(&message).unwrap();
        prop_assert_eq!(&by_protocol["default"], &alert.body);
        let https = by_protocol["https"].as_str().unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(https).unwrap(), notification.to_json());
        let as_text = alert.clone().in_format(AlertFormat::Text);
        prop_assert_eq!(as_text.message(), Message::ForAll(alert.body));
    }
}
