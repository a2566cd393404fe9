//! The same pages, read here and by the SDK.

use aws_smithy_types::body::SdkBody;
use etcd_backup_core::tags::TagPool;
use proptest::prelude::*;

use super::*;
use crate::ec2::conversion::core_snapshot;

/// What of a page reaches the rest of the program.
#[derive(Debug, PartialEq)]
struct Page {
    next_token: Option<String>,
    snapshots: Vec<Option<etcd_backup_core::snapshot::Snapshot>>,
}

impl From<DescribeSnapshotsOutput> for Page {
    fn from(page: DescribeSnapshotsOutput) -> Self {
        let mut pool = TagPool::default();
        let snapshots = page.snapshots().iter();
        Self {
            next_token: page.next_token().map(str::to_owned),
            snapshots: snapshots.map(|it| core_snapshot(it, &mut pool)).collect(),
        }
    }
}

fn read_here(xml: &str) -> Option<Page> {
    page(xml.as_bytes()).map(Page::from)
}

fn read(reader: &dyn DeserializeResponse, status: u16, xml: &str) -> Result<Page, String> {
    let status = status.try_into().unwrap();
    let response = HttpResponse::new(status, SdkBody::from(xml));
    let output = reader.deserialize_nonstreaming_with_config(&response, &ConfigBag::base());
    let output = output.map_err(|error| format!("{error:?}"))?;
    Ok(output.downcast::<DescribeSnapshotsOutput>().unwrap().into())
}

fn read_by_sdk(status: u16, xml: &str) -> Result<Page, String> {
    let sdk = DescribeSnapshots::new().config().unwrap();
    read(
        sdk.load::<SharedResponseDeserializer>().unwrap(),
        status,
        xml,
    )
}

fn read_by_either(status: u16, xml: &str) -> Result<Page, String> {
    let sdk = DescribeSnapshots::new().config().unwrap();
    read(&PageReader { sdk }, status, xml)
}

fn page_of(items: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeSnapshotsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
    <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
    <snapshotSet>{items}</snapshotSet>
</DescribeSnapshotsResponse>"#
    )
}

/// Text as EC2 may write it: each character as it is, where XML allows that, or by a reference.
fn written(text: &str, by_number: bool) -> String {
    let character = |character: char| match character {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '"' if by_number => "&quot;".to_owned(),
        '\'' if by_number => "&apos;".to_owned(),
        other if by_number && !other.is_ascii_alphanumeric() => {
            format!("&#x{:x};", u32::from(other))
        }
        other => other.to_string(),
    };
    text.chars().map(character).collect()
}

fn element(
    name: &'static str,
    text: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<String> {
    let element = (text, any::<bool>()).prop_map(move |(text, by_number)| {
        if text.is_empty() && by_number {
            return format!("<{name}/>");
        }
        format!("<{name}>{}</{name}>", written(&text, by_number))
    });
    prop_oneof![9 => element, 1 => Just(String::new())].boxed()
}

fn any_text() -> impl Strategy<Value = String> {
    r#"[ a-zA-Z0-9&<>"'=/.:@_+äß漢🦀\t\n-]{0,20}"#
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn a_tag() -> impl Strategy<Value = String> {
    let (key, value) = (element("key", any_text()), element("value", any_text()));
    (key, value, any::<bool>()).prop_map(|(key, value, value_first)| {
        if value_first {
            format!("<item>{value}{key}</item>")
        } else {
            format!("<item>\n  {key}<!-- a comment -->{value}</item>")
        }
    })
}

/// An item with what EC2 gives, in any order, and with elements that EC2 may add one day.
fn an_item() -> impl Strategy<Value = String> {
    let tags = prop::collection::vec(a_tag(), 0..5)
        .prop_map(|tags| format!("<tagSet>{}</tagSet>", tags.concat()));
    let times = &["2026-11-22T06:03:12.345Z", "2026-11-22T06:03:12Z"];
    let elements = vec![
        element("snapshotId", one_of(&["snap-0123456789abcdef0"])),
        element("volumeId", one_of(&["vol-0123456789abcdef0"])),
        element(
            "status",
            one_of(&["completed", "pending", "error", "newer"]),
        ),
        element("statusMessage", any_text()),
        element("startTime", one_of(times)),
        element("completionTime", one_of(times)),
        element("volumeSize", one_of(&["20", "65536", "0"])),
        element("encrypted", one_of(&["true", "false"])),
        element("kmsKeyId", any_text()),
        element("storageTier", one_of(&["standard", "archive", ""])),
        element("description", any_text()),
        element("progress", one_of(&["100%", ""])),
        Just(
            "<newer kind='a>b'><item><snapshotId>another</snapshotId></item><empty/></newer>"
                .to_owned(),
        )
        .boxed(),
        tags.boxed(),
    ];
    let elements = elements.prop_shuffle();
    elements.prop_map(|elements| format!("<item>{}</item>", elements.join("\n ")))
}

proptest! {
    #[test]
    fn a_page_is_read_as_the_sdk_reads_it(items in prop::collection::vec(an_item(), 0..6)) {
        let xml = page_of(&items.concat());
        let page = read_here(&xml);
        prop_assert!(page.is_some(), "left to the SDK: {xml}");
        prop_assert_eq!(page, read_by_sdk(200, &xml).ok());
    }

    #[test]
    fn a_page_that_was_cut_off_is_left_to_the_sdk(item in an_item(), share in 0.0..1.0) {
        let xml = page_of(&item);
        let mut end = (xml.len() as f64 * share) as usize;
        while !xml.is_char_boundary(end) {
            end -= 1;
        }
        prop_assert_eq!(read_here(&xml[..end]), None);
    }

    #[test]
    fn nothing_panics(item in an_item(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut xml = page_of(&item).into_bytes();
        let at = at.index(xml.len());
        xml[at] = byte;
        let _ = page(&xml);
    }
}

#[test]
fn what_is_not_expected_is_left_to_the_sdk() {
    let item = |element: &str| page_of(&format!("<item>{element}</item>"));
    let left = [
        item("<volumeSize>many</volumeSize>"),
        item("<encrypted>perhaps</encrypted>"),
        item("<startTime>today</startTime>"),
        item("<snapshotId>snap-<b>0</b></snapshotId>"),
        item("<snapshotId><![CDATA[snap-0]]></snapshotId>"),
        item("<snapshotId>&unknown;</snapshotId>"),
        item("<snapshotId>snap-0</volumeId>"),
        "<!DOCTYPE a [<!ENTITY b \"c\">]><DescribeSnapshotsResponse/>".to_owned(),
        "<DescribeVolumesResponse/>".to_owned(),
        "{}".to_owned(),
        String::new(),
    ];
    for xml in left {
        assert_eq!(read_here(&xml), None, "{xml}");
        assert_eq!(read_by_either(200, &xml), read_by_sdk(200, &xml), "{xml}");
    }
}

#[test]
fn an_error_is_read_by_the_sdk() {
    let xml = "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
               <Message>Request limit exceeded.</Message></Error></Errors></Response>";
    let error = read_by_either(503, xml).unwrap_err();
    assert!(error.contains("RequestLimitExceeded"), "{error}");
    assert_eq!(Err(error), read_by_sdk(503, xml));
    // A page under the status of an error is none.
    let page = page_of("");
    assert_eq!(read_by_either(503, &page), read_by_sdk(503, &page));
    assert!(read_by_either(503, &page).is_err());
}
