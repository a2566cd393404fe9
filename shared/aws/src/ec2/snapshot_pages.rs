//! Pages of snapshots, read in a fraction of the SDK's time.
//!
//! The audit of a large account spends most of its time on the XML of `DescribeSnapshots`: the SDK's reader
//! compares each element's name with all that it knows, and keeps all that it reads. This one takes what the
//! audit and restores look at, by `quick-xml`, as the SDK's own types.
//!
//! Invariant: an answer is either read as the SDK would read it, or left to the SDK: errors, and XML with
//! anything that this reader does not expect.

use std::str::FromStr;

use aws_sdk_ec2::operation::describe_snapshots::{DescribeSnapshots, DescribeSnapshotsOutput};
use aws_sdk_ec2::types::{Snapshot, Tag};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, Output, OutputOrError,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use aws_smithy_types::date_time::Format;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

/// Has the pages of one call of `DescribeSnapshots` read here.
#[derive(Debug)]
pub(super) struct ReadSnapshotPages;

impl Intercept for ReadSnapshotPages {
    fn name(&self) -> &'static str {
        "ReadSnapshotPages"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(sdk) = DescribeSnapshots::new().config() {
            let reader = SharedResponseDeserializer::new(PageReader { sdk });
            config.interceptor_state().store_put(reader);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct PageReader {
    /// The settings of the SDK for `DescribeSnapshots`, its own reader among them.
    sdk: FrozenLayer,
}

impl DeserializeResponse for PageReader {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        config: &ConfigBag,
    ) -> OutputOrError {
        let body = response.body().bytes();
        let body = body.filter(|_| response.status().is_success());
        if let Some(page) = body.and_then(page) {
            return Ok(Output::erase(page));
        }
        let Some(sdk) = self.sdk.load::<SharedResponseDeserializer>() else {
            return Err(OrchestratorError::other("the SDK has no reader"));
        };
        sdk.deserialize_nonstreaming_with_config(response, config)
    }
}

/// A page; nothing where the XML is anything but a page as EC2 gives it.
fn page(body: &[u8]) -> Option<DescribeSnapshotsOutput> {
    let mut xml = Xml::new(std::str::from_utf8(body).ok()?);
    let root = xml.root()?;
    if name(&root) != "DescribeSnapshotsResponse" {
        return None;
    }
    let mut page = DescribeSnapshotsOutput::builder();
    while let Some(child) = xml.child()? {
        page = match name(&child) {
            "nextToken" => page.next_token(xml.text(&child)?),
            "snapshotSet" => page.set_snapshots(Some(xml.items(snapshot)?)),
            _ => {
                xml.skip(&child)?;
                page
            }
        }
    }
    Some(page.build())
}

fn snapshot(xml: &mut Xml) -> Option<Snapshot> {
    let mut snapshot = Snapshot::builder();
    while let Some(child) = xml.child()? {
        snapshot = match name(&child) {
            "snapshotId" => snapshot.snapshot_id(xml.text(&child)?),
            "volumeId" => snapshot.volume_id(xml.text(&child)?),
            "status" => snapshot.state(xml.text(&child)?.as_str().into()),
            "statusMessage" => snapshot.state_message(xml.text(&child)?),
            "startTime" => snapshot.start_time(xml.time(&child)?),
            "completionTime" => snapshot.completion_time(xml.time(&child)?),
            "volumeSize" => snapshot.volume_size(xml.value(&child)?),
            "encrypted" => snapshot.encrypted(xml.value(&child)?),
            "kmsKeyId" => snapshot.kms_key_id(xml.text(&child)?),
            "storageTier" => snapshot.storage_tier(xml.text(&child)?.as_str().into()),
            "tagSet" => snapshot.set_tags(Some(xml.items(tag)?)),
            _ => {
                xml.skip(&child)?;
                snapshot
            }
        }
    }
    Some(snapshot.build())
}

fn tag(xml: &mut Xml) -> Option<Tag> {
    let mut tag = Tag::builder();
    while let Some(child) = xml.child()? {
        tag = match name(&child) {
            "key" => tag.key(xml.text(&child)?),
            "value" => tag.value(xml.text(&child)?),
            _ => {
                xml.skip(&child)?;
                tag
            }
        }
    }
    Some(tag.build())
}

fn name<'start>(start: &'start BytesStart) -> &'start str {
    start.local_name().into_inner()
}

/// Elements one after the other. Each function gives `None` where the XML is not what is expected.
struct Xml<'text> {
    reader: quick_xml::Reader<&'text [u8]>,
}

impl<'text> Xml<'text> {
    fn new(text: &'text str) -> Self {
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader }
    }

    /// The first element, after the declaration.
    fn root(&mut self) -> Option<BytesStart<'text>> {
        loop {
            match self.reader.read_event().ok()? {
                Event::Start(start) => return Some(start),
                Event::Decl(_) | Event::Comment(_) => {}
                Event::Text(text) if text.trim_ascii().is_empty() => {}
                _ => return None,
            }
        }
    }

    /// The next element of the one that is open; `Some(None)` at its end.
    #[expect(clippy::option_option, reason = "no XML is not the same as no element")]
    fn child(&mut self) -> Option<Option<BytesStart<'text>>> {
        loop {
            match self.reader.read_event().ok()? {
                Event::Start(start) => return Some(Some(start)),
                Event::End(_) => return Some(None),
                Event::Text(_) | Event::Comment(_) => {}
                _ => return None,
            }
        }
    }

    /// What each `item` of the element that is open holds.
    fn items<Item>(&mut self, read: fn(&mut Self) -> Option<Item>) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        while let Some(child) = self.child()? {
            match name(&child) {
                "item" => items.push(read(self)?),
                _ => self.skip(&child)?,
            }
        }
        Some(items)
    }

    fn text(&mut self, element: &BytesStart) -> Option<String> {
        let text = self.reader.read_text(element.name()).ok()?;
        if text.contains('<') {
            return None;
        }
        Some(unescape(&text).ok()?.into_owned())
    }

    fn value<Value: FromStr>(&mut self, element: &BytesStart) -> Option<Value> {
        self.text(element)?.parse().ok()
    }

    fn time(&mut self, element: &BytesStart) -> Option<DateTime> {
        DateTime::from_str(&self.text(element)?, Format::DateTimeWithOffset).ok()
    }

    fn skip(&mut self, element: &BytesStart) -> Option<()> {
        self.reader.read_to_end(element.name()).ok().map(drop)
    }
}

#[cfg(test)]
mod tests;
