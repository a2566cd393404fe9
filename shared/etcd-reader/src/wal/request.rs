//! How much an entry of the log moves etcd's revision, as far as the entry alone tells.
//!
//! Source: etcd, `api/etcdserverpb/raft_internal.proto` (`InternalRaftRequest`), `rpc.proto`
//! (`PutRequest`, `TxnRequest`, `RequestOp`), `server/storage/mvcc/kvstore_txn.go` (a transaction that
//! wrote anything moves the revision by one).

use crate::protobuf::{Fields, Malformed};

/// Deeper transactions are taken as ones that may write.
const NESTING_MAX: u32 = 8;

/// Source: etcd, `server/etcdserver/apply_v2.go` (`applyV2Request`).
const V2_METHODS: [&[u8]; 5] = [b"POST", b"PUT", b"DELETE", b"QGET", b"SYNC"];

/// By how much an entry moves the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Not at all.
    None,
    /// By one, or not at all: that depends on what the database holds.
    Perhaps,
    /// By one.
    One,
    /// Not at all, but what follows may be refused, or no longer refused.
    Alarm,
}

/// What an entry's request does. What can't be decoded may do anything.
pub(super) fn growth(request: &[u8]) -> Growth {
    request_growth(request).unwrap_or(Growth::Perhaps)
}

fn request_growth(request: &[u8]) -> Result<Growth, Malformed> {
    let mut growth = Growth::None;
    let mut needs_permission = false;
    for field in Fields::new(request) {
        let (number, value) = field?;
        match number {
            // A request of etcd 2, by which etcd up to 3.5 keeps members' attributes, has its method here.
            2 if V2_METHODS.contains(&value.bytes()?) => return Ok(Growth::None),
            4 => growth = put(value.bytes()?)?,
            // A range to delete may be empty, a lease to revoke without keys.
            5 | 9 => growth = Growth::Perhaps,
            6 => growth = transaction(value.bytes()?, 0)?,
            10 => growth = Growth::Alarm,
            100 => needs_permission = names_user(value.bytes()?)?,
            _ => {}
        }
    }
    if needs_permission && growth == Growth::One {
        growth = Growth::Perhaps;
    }
    Ok(growth)
}

/// Whether a `RequestHeader` names a user, so that the request may be refused.
fn names_user(header: &[u8]) -> Result<bool, Malformed> {
    let mut user = false;
    for field in Fields::new(header) {
        if let (2, value) = field? {
            user = !value.bytes()?.is_empty();
        }
    }
    Ok(user)
}

fn put(request: &[u8]) -> Result<Growth, Malformed> {
    let mut growth = Growth::One;
    for field in Fields::new(request) {
        match field? {
            // A lease that may be gone, a value or lease to be kept of a key that may not be there.
            (3 | 5 | 6, value) if value.varint()? != 0 => growth = Growth::Perhaps,
            _ => {}
        }
    }
    Ok(growth)
}

/// One of two lists of operations is done, which depends on comparisons, where there are any.
fn transaction(request: &[u8], depth: u32) -> Result<Growth, Malformed> {
    if depth > NESTING_MAX {
        return Ok(Growth::Perhaps);
    }
    let (mut compares, mut success, mut failure) = (false, Growth::None, Growth::None);
    for field in Fields::new(request) {
        let (number, value) = field?;
        match number {
            1 => compares = true,
            2 => success = both(success, operation(value.bytes()?, depth)?),
            3 => failure = both(failure, operation(value.bytes()?, depth)?),
            _ => {}
        }
    }
    Ok(match (compares, success == failure) {
        (false, _) | (_, true) => success,
        (true, false) => Growth::Perhaps,
    })
}

fn operation(operation: &[u8], depth: u32) -> Result<Growth, Malformed> {
    let mut growth = Growth::None;
    for field in Fields::new(operation) {
        let (number, value) = field?;
        match number {
            // A range at a revision that was compacted fails the whole transaction.
            1 => growth = range(value.bytes()?)?,
            2 => growth = put(value.bytes()?)?,
            3 => growth = Growth::Perhaps,
            4 => growth = transaction(value.bytes()?, depth + 1)?,
            _ => {}
        }
    }
    Ok(growth)
}

fn range(request: &[u8]) -> Result<Growth, Malformed> {
    let mut growth = Growth::None;
    for field in Fields::new(request) {
        match field? {
            (4, value) if value.varint()? != 0 => growth = Growth::Perhaps,
            _ => {}
        }
    }
    Ok(growth)
}

/// What two operations of one transaction do together: it moves the revision once.
fn both(one: Growth, other: Growth) -> Growth {
    match (one, other) {
        (Growth::Perhaps, _) | (_, Growth::Perhaps) => Growth::Perhaps,
        (Growth::One, _) | (_, Growth::One) => Growth::One,
        _ => Growth::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    #[test]
    fn what_moves_the_revision_is_told_by_the_request() {
        let put = field(1, b"k");
        let leased = [put.clone(), vec![0x18, 0x07]].concat();
        let in_transaction = |compare: &[u8], success: &[u8], failure: &[u8]| {
            field(
                6,
                &[compare, &field(2, success), &field(3, failure)].concat(),
            )
        };
        let cases = [
            (Vec::new(), Growth::None),
            (
                [
                    vec![0x08, 0x01],
                    field(2, b"PUT"),
                    field(3, b"/0/version"),
                    field(4, b"3.5.0"),
                ]
                .concat(),
                Growth::None,
            ),
            (field(3, b""), Growth::None),
            (field(4, &put), Growth::One),
            (field(4, &leased), Growth::Perhaps),
            (field(5, &put), Growth::Perhaps),
            (field(9, &[0x08, 0x01]), Growth::Perhaps),
            (field(7, &[0x08, 0x01]), Growth::None),
            (field(10, &[0x08, 0x01]), Growth::Alarm),
            (
                [field(4, &put), vec![0xa2, 0x06, 3], field(2, b"u")].concat(),
                Growth::Perhaps,
            ),
            (
                [field(4, &put), vec![0xa2, 0x06, 2, 0x08, 0x07]].concat(),
                Growth::One,
            ),
            (in_transaction(b"", &field(2, &put), b""), Growth::One),
            (
                in_transaction(&field(1, b""), &field(2, &put), &field(1, b"")),
                Growth::Perhaps,
            ),
            (
                in_transaction(&field(1, b""), &field(2, &put), &field(2, &put)),
                Growth::One,
            ),
            (in_transaction(b"", &field(3, &put), b""), Growth::Perhaps),
            (b"\x0f".to_vec(), Growth::Perhaps),
        ];
        for (request, expected) in cases {
            assert_eq!(growth(&request), expected, "{request:x?}");
        }
    }
}
