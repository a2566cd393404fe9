//! A benchmark AWS that holds snapshots of etcd volumes: the EBS direct APIs and what verify asks beside
//! them, over HTTP, with a set latency. All snapshots hold the same image, whose blocks are in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_types::base64;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};

use crate::server::serve;

/// Bytes in a block.
pub const BLOCK_BYTES: usize = 512 * 1024;
/// The volumes' size in GiB.
const VOLUME_GIB: u64 = 20;

/// A running benchmark AWS. It ends with the process.
#[derive(Debug)]
pub struct SnapshotAws {
    address: SocketAddr,
    /// The snapshots' ids.
    pub snapshots: Vec<String>,
    /// The indexes of the blocks that each of them has.
    pub written: Vec<u64>,
}

#[derive(Debug)]
struct Shared {
    blocks: BTreeMap<u64, (Bytes, String)>,
    snapshots: Vec<String>,
    latency: Duration,
}

impl SnapshotAws {
    /// Starts one with so many snapshots of an image.
    ///
    /// # Panics
    ///
    /// When the image can't be read, or no port is free.
    pub async fn start(image: &Path, snapshots: usize, latency: Duration) -> Self {
        let blocks = blocks(image);
        let ids = (0..snapshots).map(|number| format!("snap-{number:017x}"));
        let shared = Arc::new(Shared {
            blocks,
            snapshots: ids.collect(),
            latency,
        });
        let (snapshots, written) = (
            shared.snapshots.clone(),
            shared.blocks.keys().copied().collect(),
        );
        let router = Router::new().fallback(answer).with_state(shared);
        Self {
            address: serve(router).await,
            snapshots,
            written,
        }
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What a block is asked for with.
pub fn token(index: u64) -> String {
    format!("{index:068}")
}

/// The blocks of an image that aren't all zeros, with their checksums.
fn blocks(image: &Path) -> BTreeMap<u64, (Bytes, String)> {
    let file = File::open(image).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    let size = file.metadata().expect("an image has a size").len();
    let mut blocks = BTreeMap::new();
    for index in 0..size / BLOCK_BYTES as u64 {
        let mut block = vec![0; BLOCK_BYTES];
        let at = index * BLOCK_BYTES as u64;
        file.read_exact_at(&mut block, at)
            .expect("an image's block");
        if block.iter().any(|byte| *byte != 0) {
            let checksum = base64::encode(Sha256::digest(&block));
            blocks.insert(index, (block.into(), checksum));
        }
    }
    blocks
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> Response {
    let arrived = Instant::now();
    let response = shared.respond(uri.path(), &body);
    sleep_until(arrived + shared.latency).await;
    response
}

impl Shared {
    fn respond(&self, path: &str, body: &[u8]) -> Response {
        let form = String::from_utf8_lossy(body);
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts[..] {
            ["snapshots", _, "blocks"] => json_answer(&self.listing()),
            ["snapshots", _, "blocks", index] => self.block(index),
            ["policies"] => json_answer(&json!({"Policies": []})),
            _ if form.contains("Action=DescribeSnapshots") => self.described(&form),
            _ if form.contains("Action=DescribeVolumes") => xml("DescribeVolumes", "<volumeSet/>"),
            _ if form.contains("Action=CreateTags") => xml("CreateTags", "<return>true</return>"),
            _ => StatusCode::NOT_IMPLEMENTED.into_response(),
        }
    }

    fn listing(&self) -> Value {
        let blocks = self.blocks.keys();
        let blocks: Vec<Value> = blocks
            .map(|index| json!({"BlockIndex": index, "BlockToken": token(*index)}))
            .collect();
        json!({"Blocks": blocks, "BlockSize": BLOCK_BYTES, "VolumeSize": VOLUME_GIB})
    }

    fn block(&self, index: &str) -> Response {
        let block = index.parse().ok().and_then(|index| self.blocks.get(&index));
        let Some((content, checksum)) = block else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let headers = [
            ("x-amz-data-length", BLOCK_BYTES.to_string()),
            ("x-amz-checksum", checksum.clone()),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
        ];
        (headers, content.clone()).into_response()
    }

    /// Those that a filter names; none by tags, as they have none.
    fn described(&self, form: &str) -> Response {
        let is_named = |id: &&String| form.contains(id.as_str());
        let items = self.snapshots.iter().filter(is_named).map(|id| {
            format!(
                "<item><snapshotId>{id}</snapshotId><volumeId>vol-0</volumeId><status>completed</status>\
                 <startTime>2026-11-22T06:04:11.000Z</startTime><ownerId>123456789012</ownerId>\
                 <volumeSize>{VOLUME_GIB}</volumeSize><encrypted>false</encrypted></item>"
            )
        });
        let items: String = items.collect();
        xml(
            "DescribeSnapshots",
            &format!("<snapshotSet>{items}</snapshotSet>"),
        )
    }
}

fn json_answer(value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, value.to_string()).into_response()
}

fn xml(operation: &str, members: &str) -> Response {
    let body = format!(
        "<{operation}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>0</requestId>{members}</{operation}Response>"
    );
    ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
}
