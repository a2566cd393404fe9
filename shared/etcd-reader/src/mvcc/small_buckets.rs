//! The buckets that etcd keeps about itself, all small.
//!
//! Source: etcd, `server/storage/schema`: `bucket.go` (names), `meta.go`, `cindex.go`, `confstate.go`,
//! `membership.go`, `alarm.go`, and `server/lease/leasepb/lease.proto`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ReadError;
use crate::bbolt::Visitor;
use crate::protobuf::{Fields, Malformed};

/// More members than any cluster has: a database that names more is damaged.
const MEMBERS_MAX: usize = 1000;
/// etcd never forgets a removed member.
const REMOVED_MAX: usize = 1_000_000;

/// The bucket `meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaBucket {
    /// The index of the log's entry up to which the database holds what the log says.
    pub(crate) consistent_index: u64,
    pub(crate) scheduled_compaction: u64,
    pub(crate) finished_compaction: u64,
    /// From etcd 3.6 on, as `3.6.0`.
    pub(crate) storage_version: Option<String>,
}

impl MetaBucket {
    /// The revision of the last compaction, under way or finished: below, revisions may be missing.
    pub(crate) fn compaction(&self) -> u64 {
        self.scheduled_compaction.max(self.finished_compaction)
    }

    /// Whether a compaction was under way, which etcd takes up again when it starts.
    pub(crate) fn compaction_is_under_way(&self) -> bool {
        self.scheduled_compaction > self.finished_compaction
    }
}

impl Visitor for MetaBucket {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadError> {
        match key {
            b"consistent_index" => {
                self.consistent_index =
                    number(value).ok_or_else(|| undecodable("consistent_index"))?
            }
            b"term" => drop(number(value).ok_or_else(|| undecodable("term"))?),
            b"scheduledCompactRev" => {
                self.scheduled_compaction =
                    revision(value).ok_or_else(|| undecodable("scheduledCompactRev"))?
            }
            b"finishedCompactRev" => {
                self.finished_compaction =
                    revision(value).ok_or_else(|| undecodable("finishedCompactRev"))?
            }
            b"confState" => drop(
                serde_json::from_slice::<ConfState>(value).map_err(|_| undecodable("confState"))?,
            ),
            b"storageVersion" => {
                let version =
                    std::str::from_utf8(value).map_err(|_| undecodable("storageVersion"))?;
                self.storage_version =
                    Some(version.to_owned()).filter(|version| !version.is_empty());
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct ConfState {
    #[serde(default, rename = "voters")]
    _voters: Option<Vec<u64>>,
}

/// An alarm that a member raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The database is at its quota: nothing can be written.
    NoSpace,
    /// Members were found to differ.
    Corrupt,
}

/// A member as the bucket `members` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct MemberRecord {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, rename = "isLearner")]
    pub(crate) learner: bool,
}

/// All other buckets but that of keys.
#[derive(Default)]
pub(super) struct SmallBuckets {
    pub(super) members: BTreeMap<u64, MemberRecord>,
    pub(super) members_removed: Vec<u64>,
    pub(super) cluster_version: Option<String>,
    pub(super) alarms: Vec<Alarm>,
}

impl SmallBuckets {
    /// Takes the entries of a bucket.
    pub(super) fn visitor<'a>(&'a mut self, bucket: &'a [u8]) -> impl Visitor + 'a {
        BucketVisitor { bucket, to: self }
    }

    fn take(&mut self, bucket: &[u8], key: &[u8], value: &[u8]) -> Result<(), ReadError> {
        match bucket {
            b"members" => {
                let id = member_id(key).ok_or_else(|| undecodable("a member's id"))?;
                let member = serde_json::from_slice(value).map_err(|_| undecodable("a member"))?;
                self.members.insert(id, member);
            }
            b"members_removed" => self
                .members_removed
                .push(member_id(key).ok_or_else(|| undecodable("a removed member's id"))?),
            b"cluster" if key == b"clusterVersion" => {
                let version =
                    std::str::from_utf8(value).map_err(|_| undecodable("clusterVersion"))?;
                self.cluster_version = Some(version.to_owned());
            }
            b"lease" => check_lease(key, value).map_err(|_| undecodable("a lease"))?,
            b"alarm" => {
                let alarm = decode_alarm(key).map_err(|_| undecodable("an alarm"))?;
                // Each member may raise the same.
                if let Some(alarm) = alarm.filter(|alarm| !self.alarms.contains(alarm)) {
                    self.alarms.push(alarm);
                }
            }
            _ => {}
        }
        if self.members.len() > MEMBERS_MAX || self.members_removed.len() > REMOVED_MAX {
            return Err(ReadError::Damaged(
                "the database names more members than any cluster has".to_owned(),
            ));
        }
        Ok(())
    }
}

struct BucketVisitor<'a> {
    bucket: &'a [u8],
    to: &'a mut SmallBuckets,
}

impl Visitor for BucketVisitor<'_> {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadError> {
        self.to.take(self.bucket, key, value)
    }
}

fn undecodable(what: &str) -> ReadError {
    ReadError::Damaged(format!("{what} in the database can't be decoded"))
}

fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// Only the main revision counts.
fn revision(value: &[u8]) -> Option<u64> {
    if value.len() < 17 {
        return None;
    }
    u64::try_from(i64::from_be_bytes(*value.first_chunk()?)).ok()
}

fn member_id(key: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(key).ok()?, 16).ok()
}

/// etcd reads leases by value, which must tell an id; the key is that id again.
fn check_lease(key: &[u8], message: &[u8]) -> Result<(), Malformed> {
    let mut id = 0;
    for field in Fields::new(message) {
        match field? {
            (1, value) => id = value.varint()?,
            (2 | 3, value) => drop(value.varint()?),
            _ => {}
        }
    }
    if number(key) == Some(id) {
        Ok(())
    } else {
        Err(Malformed)
    }
}

/// The alarm is the key; the value is empty.
fn decode_alarm(message: &[u8]) -> Result<Option<Alarm>, Malformed> {
    let mut kind = 0;
    for field in Fields::new(message) {
        match field? {
            (1, value) => drop(value.varint()?),
            (2, value) => kind = value.varint()?,
            _ => {}
        }
    }
    Ok(match kind {
        1 => Some(Alarm::NoSpace),
        2 => Some(Alarm::Corrupt),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_writes_is_decoded() {
        let mut small = SmallBuckets::default();
        let member = br#"{"id":1,"peerURLs":["http://x"],"name":"etcd-a","isLearner":true}"#;
        small.take(b"members", b"00000000000000ff", member).unwrap();
        small.take(b"members_removed", b"fe", b"removed").unwrap();
        small.take(b"cluster", b"clusterVersion", b"3.6.0").unwrap();
        small
            .take(b"lease", &7u64.to_be_bytes(), b"\x08\x07\x10\x3c")
            .unwrap();
        small.take(b"alarm", b"\x08\x05\x10\x01", b"").unwrap();
        assert_eq!(
            small.members[&255],
            MemberRecord {
                name: "etcd-a".to_owned(),
                learner: true
            }
        );
        assert_eq!(
            (small.members_removed, small.cluster_version.as_deref()),
            (vec![254], Some("3.6.0"))
        );
        assert_eq!(small.alarms, [Alarm::NoSpace]);
    }

    #[test]
    fn what_etcd_would_stop_at_is_damage() {
        let bad: [(&[u8], &[u8], &[u8]); 5] = [
            (b"members", b"not hex", b"{}"),
            (b"members", b"ff", b"{"),
            (b"lease", b"\0\0\0\0\0\0\0\x07", b"\x08\x08"),
            (b"lease", b"\0\0\0\0\0\0\0\x07", b"\x0f"),
            (b"alarm", b"\x08", b""),
        ];
        for (bucket, key, value) in bad {
            assert!(matches!(
                SmallBuckets::default().take(bucket, key, value),
                Err(ReadError::Damaged(_))
            ));
        }
    }
}
