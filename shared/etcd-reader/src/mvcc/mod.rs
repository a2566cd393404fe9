//! What etcd keeps in its database: revisions of keys, and a few buckets about itself.
//!
//! Purpose: decode all that etcd decodes when it starts, as it stops at what it can't decode, and
//! collect what a verdict needs. No key's name and no value leaves this module, in errors neither.
//!
//! Invariants: memory doesn't grow with the number of keys but for what [`digest`] and [`objects`] say.
//!
//! Source: etcd, `server/storage/schema` (buckets and their fields), `server/storage/mvcc`
//! (`revision.go`, `kvstore.go` `restore`), `api/mvccpb/kv.proto`.

mod digest;
mod encryption;
mod key_value;
mod objects;
mod small_buckets;

use std::collections::BTreeMap;

use crate::ReadError;
use crate::bbolt::{Bucket, Database, Usage, Visitor};

pub(crate) use digest::{Comparison, RevisionDigests};
pub use encryption::{SecretsEncryption, SecretsProvider};
pub(crate) use small_buckets::{Alarm, MemberRecord, MetaBucket};

use encryption::EncryptionCount;
use key_value::{KeyValue, Revision};
use objects::ObjectCount;
use small_buckets::SmallBuckets;

/// The database's buckets and its bucket `meta`: what must be known before all else is read.
struct Overview {
    usage: Usage,
    buckets: Vec<Bucket>,
    meta: MetaBucket,
}

/// What the database holds.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) meta: MetaBucket,
    /// etcd's revision after opening this database.
    pub(crate) revision: u64,
    /// Entries in the bucket `key`: one for each revision of a key that compaction left.
    pub(crate) key_entries: u64,
    /// Members that the bucket `members` knows, by id.
    pub(crate) members: BTreeMap<u64, MemberRecord>,
    pub(crate) members_removed: Vec<u64>,
    /// The version that the members agreed on, as `3.6.0`.
    pub(crate) cluster_version: Option<String>,
    pub(crate) alarms: Vec<Alarm>,
    /// Live objects of the core kinds; none where they couldn't be counted within the memory allowed.
    pub(crate) objects: Option<BTreeMap<&'static str, u64>>,
    pub(crate) secrets: Option<SecretsEncryption>,
    pub(crate) digests: RevisionDigests,
    pub(crate) size_bytes: u64,
    pub(crate) in_use_bytes: u64,
}

/// Reads which buckets there are, and the bucket `meta`.
fn overview(database: &Database) -> Result<Overview, ReadError> {
    let mut usage = database.begin()?;
    let buckets = database.buckets(&mut usage)?;
    let mut meta = MetaBucket::default();
    if let Some(bucket) = buckets.iter().find(|bucket| bucket.name == b"meta") {
        database.visit(&mut usage, bucket, &mut meta)?;
    }
    Ok(Overview {
        usage,
        buckets,
        meta,
    })
}

/// The revision alone, without a check of the database.
pub(crate) fn revision(database: &Database) -> Result<u64, ReadError> {
    let overview = overview(database)?;
    let bucket = overview.buckets.iter().find(|bucket| bucket.name == b"key");
    let last = bucket
        .map(|bucket| database.last_key(bucket))
        .transpose()?
        .flatten();
    let last = last
        .and_then(|name| Revision::decode(&name))
        .map_or(1, |revision| revision.main);
    Ok(last.max(overview.meta.compaction()))
}

/// Reads all of it, and checks the database.
pub(crate) fn contents(database: &Database, count_encryption: bool) -> Result<Contents, ReadError> {
    let Overview {
        mut usage,
        buckets,
        meta,
    } = overview(database)?;
    let mut small = SmallBuckets::default();
    let mut keys = Keys {
        count: 0,
        revision: 1,
        objects: ObjectCount::new(&meta),
        encryption: count_encryption.then(EncryptionCount::default),
        digests: RevisionDigests::new(meta.compaction()),
    };
    // The keys last: theirs is the large tree, and what is small is known by then.
    for bucket in buckets
        .iter()
        .filter(|bucket| bucket.name != b"key" && bucket.name != b"meta")
    {
        database.visit(&mut usage, bucket, &mut small.visitor(&bucket.name))?;
    }
    let Some(bucket) = buckets.iter().find(|bucket| bucket.name == b"key") else {
        return Err(ReadError::Damaged(
            "the database has no bucket for keys: etcd never used it, or lost it".to_owned(),
        ));
    };
    database.visit(&mut usage, bucket, &mut keys)?;
    let in_use_bytes = database.finish(&usage)?;
    Ok(Contents {
        revision: keys.revision.max(meta.compaction()),
        meta,
        key_entries: keys.count,
        members: small.members,
        members_removed: small.members_removed,
        cluster_version: small.cluster_version,
        alarms: small.alarms,
        objects: keys.objects.finish(),
        secrets: keys.encryption.map(EncryptionCount::finish),
        digests: keys.digests,
        size_bytes: database.size_bytes(),
        in_use_bytes,
    })
}

/// Takes the entries of the bucket `key`.
struct Keys {
    count: u64,
    revision: u64,
    objects: ObjectCount,
    encryption: Option<EncryptionCount>,
    digests: RevisionDigests,
}

impl Visitor for Keys {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadError> {
        let revision = Revision::decode(key).ok_or_else(|| {
            ReadError::Damaged(
                "an entry of the bucket of keys isn't named by a revision".to_owned(),
            )
        })?;
        let damaged =
            |what| ReadError::Damaged(format!("revision {} in the database {what}", revision.main));
        let kv = KeyValue::decode(value).map_err(|_| damaged("can't be decoded"))?;
        if !kv.fits(revision) {
            return Err(damaged("holds what belongs to another revision"));
        }
        self.count += 1;
        self.revision = self.revision.max(revision.main);
        self.objects.add(revision, &kv);
        self.digests.add(revision, key, value);
        if let Some(encryption) = &mut self.encryption
            && !revision.tombstone
        {
            encryption.add(kv.key, kv.value);
        }
        Ok(())
    }
}
