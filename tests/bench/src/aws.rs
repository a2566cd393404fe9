//! The benchmark AWS: EC2's listings, the DLM policy, SNS, over HTTP, with a set latency and set throttling.
//!
//! It knows only what an audit and its peers ask. Pages are cut as EC2 cuts them (`MaxResults`,
//! `NextToken`), `snapshot-id` and `volume-id` filters choose; tag filters choose everything, as
//! everything in a [`Dataset`] is an etcd volume's.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::Instant;

use crate::dataset::{Dataset, POLICY_ID};
use crate::server::serve;

/// Items in a page where the caller doesn't say.
const PAGE_DEFAULT: usize = 1000;

/// How the benchmark AWS behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// How long each call takes beside the work of answering it.
    pub latency: Duration,
    /// After so many calls that are served, as many are answered `RequestLimitExceeded`, and so on. By number and
    /// not by the second, so that a slow machine's caller meets it too. None are where it says nothing.
    pub throttled_in_a_row: Option<u64>,
}

/// A running benchmark AWS. It ends with the process.
#[derive(Debug)]
pub struct BenchmarkAws {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dataset: Dataset,
    behaviour: Behaviour,
    calls: Mutex<BTreeMap<String, u64>>,
    arrived: AtomicU64,
    throttled: AtomicU64,
    /// The numbers of the snapshots that a filter on ids chooses, by the filter.
    parts: Mutex<HashMap<String, Arc<Vec<usize>>>>,
    volume_numbers: HashMap<String, usize>,
}

impl BenchmarkAws {
    /// Starts one on a free port of the loopback.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start(dataset: Dataset, behaviour: Behaviour) -> Self {
        let volumes = 0..dataset.volume_count();
        let volume_numbers = volumes.map(|number| (dataset.volume_id(number).to_owned(), number));
        let shared = Arc::new(Shared {
            volume_numbers: volume_numbers.collect(),
            dataset,
            behaviour,
            calls: Mutex::default(),
            arrived: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            parts: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let address = serve(router).await;
        Self { address, shared }
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Milliseconds in which all snapshots' pages can be fetched one after the other, and nothing be done
    /// with them: what the benchmark AWS is capable of.
    ///
    /// # Panics
    ///
    /// When a page can't be fetched.
    pub async fn capacity(&self, snapshots: usize) -> f64 {
        let client = reqwest::Client::new();
        let started = Instant::now();
        for start in (0..snapshots).step_by(PAGE_DEFAULT) {
            let body =
                format!("Action=DescribeSnapshots&MaxResults={PAGE_DEFAULT}&NextToken={start}");
            let page = client.post(self.endpoint()).body(body).send().await;
            let page = page.expect("the benchmark AWS answers").bytes().await;
            page.expect("a page is whole");
        }
        self.take_calls();
        started.elapsed().as_secs_f64() * 1000.0
    }

    /// The calls so far by operation, and how many of all were throttled; both begin anew.
    pub fn take_calls(&self) -> (BTreeMap<String, u64>, u64) {
        let mut calls = lock(&self.shared.calls);
        let throttled = self.shared.throttled.swap(0, Ordering::Relaxed);
        (std::mem::take(&mut *calls), throttled)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arrived = Instant::now();
    let form = form(&body);
    let operation = operation(&method, &uri, &headers, &form);
    *lock(&shared.calls).entry(operation.clone()).or_default() += 1;
    let response = if shared.is_over_limit() {
        shared.throttled.fetch_add(1, Ordering::Relaxed);
        throttled()
    } else {
        shared.respond(&operation, &form)
    };
    // The latency holds the work of answering, so that this machine's share of it isn't added.
    tokio::time::sleep_until(arrived + shared.behaviour.latency).await;
    response
}

type Form = HashMap<String, String>;

fn form(body: &[u8]) -> Form {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), percent_decoded(value)))
        .collect()
}

fn percent_decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let code = (first == b'%').then(|| {
            let digits = after
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        match code.flatten() {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None if first == b'+' => bytes.push(b' '),
            None => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn operation(method: &Method, uri: &Uri, headers: &HeaderMap, form: &Form) -> String {
    if let Some(action) = form.get("Action") {
        return action.clone();
    }
    let target = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok());
    if let Some(target) = target {
        return target.rsplit('.').next().unwrap_or(target).to_owned();
    }
    match (method, uri.path()) {
        (&Method::GET, "/policies" | "/policies/") => "GetLifecyclePolicies".to_owned(),
        (&Method::GET, path) if path.starts_with("/policies/") => "GetLifecyclePolicy".to_owned(),
        (method, path) => format!("{method} {path}"),
    }
}

impl Shared {
    fn is_over_limit(&self) -> bool {
        let arrived_before = self.arrived.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.behaviour.throttled_in_a_row;
        in_a_row.is_some_and(|in_a_row| arrived_before / in_a_row % 2 == 1)
    }

    fn respond(&self, operation: &str, form: &Form) -> Response {
        match operation {
            "DescribeVolumes" => self.volumes(form),
            "DescribeSnapshots" => self.snapshots(form),
            "GetLifecyclePolicies" => policies(),
            "GetLifecyclePolicy" => policy(),
            "Publish" => xml(
                "<PublishResponse><PublishResult><MessageId>00000000-0000-0000-0000-000000000000\
                 </MessageId></PublishResult></PublishResponse>"
                    .to_owned(),
            ),
            "DescribeAutoScalingGroups" => xml(
                "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult>\
                 <AutoScalingGroups/></DescribeAutoScalingGroupsResult>\
                 </DescribeAutoScalingGroupsResponse>"
                    .to_owned(),
            ),
            "DescribeInstances" => xml(
                "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>"
                    .to_owned(),
            ),
            other => (StatusCode::NOT_IMPLEMENTED, format!("{other} is unknown")).into_response(),
        }
    }

    fn volumes(&self, form: &Form) -> Response {
        let all: Vec<usize> = (0..self.dataset.volume_count()).collect();
        let chosen = match filter(form, "volume-id") {
            Some(patterns) => all
                .into_iter()
                .filter(|number| matches_any(self.dataset.volume_id(*number), &patterns))
                .collect(),
            None => all,
        };
        let page = Page::of(form, chosen.len());
        let mut text = String::from("<DescribeVolumesResponse><volumeSet>");
        for number in &chosen[page.items.clone()] {
            self.dataset.write_volume(*number, &mut text);
        }
        text.push_str("</volumeSet>");
        page.write_token(&mut text);
        text.push_str("</DescribeVolumesResponse>");
        xml(text)
    }

    fn snapshots(&self, form: &Form) -> Response {
        let chosen = self.chosen_snapshots(form);
        let page = Page::of(form, chosen.len());
        let mut text = String::with_capacity(page.items.len() * 1700);
        text.push_str("<DescribeSnapshotsResponse><snapshotSet>");
        for place in page.items.clone() {
            self.dataset.write_snapshot(chosen.number(place), &mut text);
        }
        text.push_str("</snapshotSet>");
        page.write_token(&mut text);
        text.push_str("</DescribeSnapshotsResponse>");
        xml(text)
    }

    fn chosen_snapshots(&self, form: &Form) -> Chosen {
        if let Some(volumes) = filter(form, "volume-id") {
            let numbers = volumes
                .iter()
                .filter_map(|id| self.volume_numbers.get(id))
                .flat_map(|number| self.dataset.snapshots_of(*number));
            return Chosen::Some(Arc::new(numbers.collect()));
        }
        let Some(patterns) = filter(form, "snapshot-id") else {
            return Chosen::All(self.dataset.snapshot_count());
        };
        let mut parts = lock(&self.parts);
        let part = parts.entry(patterns.join(",")).or_insert_with(|| {
            let numbers = 0..self.dataset.snapshot_count();
            let chosen =
                numbers.filter(|number| matches_any(&self.dataset.snapshot_id(*number), &patterns));
            Arc::new(chosen.collect())
        });
        Chosen::Some(Arc::clone(part))
    }
}

enum Chosen {
    All(usize),
    Some(Arc<Vec<usize>>),
}

impl Chosen {
    fn len(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::Some(numbers) => numbers.len(),
        }
    }

    fn number(&self, place: usize) -> usize {
        match self {
            Self::All(_) => place,
            Self::Some(numbers) => numbers[place],
        }
    }
}

/// One page of a listing.
struct Page {
    items: std::ops::Range<usize>,
    next: Option<usize>,
}

impl Page {
    fn of(form: &Form, count: usize) -> Self {
        let number = |name: &str| form.get(name).and_then(|value| value.parse::<usize>().ok());
        let start = number("NextToken").unwrap_or(0).min(count);
        let end = (start + number("MaxResults").unwrap_or(PAGE_DEFAULT)).min(count);
        Self {
            items: start..end,
            next: (end < count).then_some(end),
        }
    }

    fn write_token(&self, text: &mut String) {
        if let Some(next) = self.next {
            text.push_str(&format!("<nextToken>{next}</nextToken>"));
        }
    }
}

/// The values of one filter of a Describe call.
fn filter(form: &Form, name: &str) -> Option<Vec<String>> {
    let number = (1..20).find(|number| {
        form.get(&format!("Filter.{number}.Name"))
            .is_some_and(|n| n == name)
    })?;
    let values = (1..=200).map_while(|value| form.get(&format!("Filter.{number}.Value.{value}")));
    Some(values.cloned().collect())
}

/// `*` at an end or in the middle, once, is all that the benchmarks ask.
fn matches_any(id: &str, patterns: &[String]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.split_once('*') {
            Some((start, end)) => id.starts_with(start) && id.ends_with(end),
            None => id == pattern,
        })
}

fn xml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/xml;charset=UTF-8")], text).into_response()
}

fn throttled() -> Response {
    let body = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit \
                exceeded.</Message></Error></Errors><RequestID>bench</RequestID></Response>";
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

fn policies() -> Response {
    axum::Json(json!({"Policies": [{
        "PolicyId": POLICY_ID,
        "Description": "etcd data lifecycle policy",
        "State": "ENABLED",
        "Tags": {"managed-by": "etcd-backup"},
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
    }]}))
    .into_response()
}

fn policy() -> Response {
    axum::Json(json!({"Policy": {
        "PolicyId": POLICY_ID,
        "Description": "etcd data lifecycle policy",
        "State": "ENABLED",
        "StatusMessage": "ENABLED",
        "ExecutionRoleArn": "arn:aws:iam::123456789012:role/dlm-lifecycle-role",
        "DateCreated": "2026-01-05T09:00:00Z",
        "DateModified": "2026-01-05T09:00:00Z",
        "Tags": {"managed-by": "etcd-backup"},
        "PolicyArn": format!("arn:aws:dlm:eu-west-2:123456789012:policy/{POLICY_ID}"),
        "PolicyDetails": {
            "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
            "ResourceTypes": ["VOLUME"],
            "ResourceLocations": ["CLOUD"],
            "TargetTags": [{"Key": "k8s.io/role/master", "Value": "1"}],
            "Schedules": [{
                "Name": "Daily 2 week etcd snapshots",
                "CopyTags": true,
                "TagsToAdd": [{"Key": "SnapshotCreator", "Value": "DLM"}],
                "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["06:00"]},
                "RetainRule": {"Count": 14},
            }],
        },
    }}))
    .into_response()
}
