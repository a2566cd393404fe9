//! An entry of the bucket `key`: a revision, and what was put or deleted at it.
//!
//! Source: etcd, `server/storage/mvcc/revision.go` (main revision, `_`, sub revision, `t` for a
//! tombstone), `api/mvccpb/kv.proto`.

use crate::protobuf::{Fields, Malformed};

/// A revision of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) main: u64,
    /// True where the key was deleted.
    pub(super) tombstone: bool,
}

impl Revision {
    pub(super) fn decode(name: &[u8]) -> Option<Self> {
        let (main, rest) = name.split_first_chunk::<8>()?;
        let (separator, rest) = rest.split_first()?;
        let (sub, mark) = rest.split_first_chunk::<8>()?;
        let tombstone = match mark {
            b"" => false,
            b"t" => true,
            _ => return None,
        };
        let signed = |bytes: &[u8; 8]| u64::try_from(i64::from_be_bytes(*bytes)).ok();
        signed(sub)?;
        (*separator == b'_').then_some(Self {
            main: signed(main)?,
            tombstone,
        })
    }
}

/// `mvccpb.KeyValue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyValue<'a> {
    pub(super) key: &'a [u8],
    pub(super) create_revision: u64,
    pub(super) mod_revision: u64,
    /// 1 at a key's creation, one more at each change.
    pub(super) version: u64,
    pub(super) value: &'a [u8],
    /// `etcdutl snapshot restore --bump-revision` writes a revision that holds nothing at all.
    pub(super) empty: bool,
}

impl<'a> KeyValue<'a> {
    pub(super) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut kv = Self {
            empty: message.is_empty(),
            ..Self::default()
        };
        for field in Fields::new(message) {
            match field? {
                (1, value) => kv.key = value.bytes()?,
                (2, value) => kv.create_revision = value.varint()?,
                (3, value) => kv.mod_revision = value.varint()?,
                (4, value) => kv.version = value.varint()?,
                (5, value) => kv.value = value.bytes()?,
                (6, value) => drop(value.varint()?),
                _ => {}
            }
        }
        Ok(kv)
    }

    /// Whether this can be what etcd wrote at the revision.
    pub(super) fn fits(&self, revision: Revision) -> bool {
        if self.empty {
            return true;
        }
        // A tombstone holds the key alone.
        let numbers = [self.create_revision, self.mod_revision, self.version];
        if revision.tombstone {
            return !self.key.is_empty() && numbers == [0, 0, 0];
        }
        !self.key.is_empty()
            && self.mod_revision == revision.main
            && self.create_revision <= self.mod_revision
            && self.create_revision > 0
            && self.version > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(main: u64, tail: &[u8]) -> Vec<u8> {
        [&main.to_be_bytes()[..], b"_", &[0; 8], tail].concat()
    }

    #[test]
    fn revisions_are_told_from_other_names() {
        assert_eq!(
            Revision::decode(&name(7, b"")),
            Some(Revision {
                main: 7,
                tombstone: false
            })
        );
        assert_eq!(
            Revision::decode(&name(7, b"t")),
            Some(Revision {
                main: 7,
                tombstone: true
            })
        );
        for bad in [
            name(7, b"x"),
            name(7, b"tt"),
            name(1 << 63, b""),
            name(7, b"")[..16].to_vec(),
            vec![b'-'; 17],
        ] {
            assert_eq!(Revision::decode(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_value_must_belong_to_its_revision() {
        let kv = KeyValue::decode(b"\x0a\x01k\x10\x05\x18\x07\x20\x02\x2a\x01v\x30\x09").unwrap();
        assert_eq!(
            (kv.key, kv.value, kv.create_revision, kv.version),
            (&b"k"[..], &b"v"[..], 5, 2)
        );
        assert!(kv.fits(Revision {
            main: 7,
            tombstone: false
        }));
        assert!(!kv.fits(Revision {
            main: 8,
            tombstone: false
        }));
        assert!(!kv.fits(Revision {
            main: 7,
            tombstone: true
        }));
    }

    #[test]
    fn tombstones_hold_the_key_alone_and_bumped_revisions_nothing() {
        let deleted = Revision {
            main: 7,
            tombstone: true,
        };
        assert!(KeyValue::decode(b"\x0a\x01k").unwrap().fits(deleted));
        assert!(KeyValue::decode(b"").unwrap().fits(Revision {
            main: 7,
            tombstone: false
        }));
    }
}
