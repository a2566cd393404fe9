//! A checked decoder of protobuf's wire format.
//!
//! Purpose: etcd and etcd-manager keep a dozen small messages, of which this reader needs a few fields.
//! It borrows from the input and allocates nothing, so it can run over each of millions of values.
//!
//! Invariants: no input makes it panic or loop; a field of an unknown number is skipped, as etcd's
//! generated decoders do; a field of a known number and another wire type is malformed, as it is to them.
//!
//! Source: protobuf.dev, "Encoding"; the messages are named where they are decoded.

use thiserror::Error;

/// The bytes aren't a message of the expected form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is no protobuf message of the expected form")]
pub(crate) struct Malformed;

/// A field's value, by wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    pub(crate) fn varint(self) -> Result<u64, Malformed> {
        if let Self::Varint(value) = self {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(value) = self {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// A repeated number, which writers may pack into bytes or not.
    pub(crate) fn append_varints(self, to: &mut Vec<u64>) -> Result<(), Malformed> {
        match self {
            Self::Varint(value) => to.push(value),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    to.push(take_varint(&mut packed)?);
                }
            }
            Self::Fixed64(_) | Self::Fixed32(_) => return Err(Malformed),
        }
        Ok(())
    }
}

/// The fields of a message, in the order written. Ends after the first [`Malformed`].
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = take_varint(&mut self.rest)?;
        let number = tag >> 3;
        if number == 0 || number > (1 << 29) - 1 {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(take_array(&mut self.rest)?)),
            2 => {
                let length = take_varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(take_array(&mut self.rest)?)),
            // Groups (3 and 4) were given up before etcd began.
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for position in 0..10 {
        let (&byte, after) = rest.split_first().ok_or(Malformed)?;
        *rest = after;
        // The tenth byte holds the 64th bit alone.
        if position == 9 && byte > 1 {
            return Err(Malformed);
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    *rest = after;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
        Fields::new(message).collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let message = [
            0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0,
            0,
        ];
        let expected = vec![
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Fixed32(1)),
            (4, Value::Fixed64(2)),
        ];
        assert_eq!(fields(&message), Ok(expected));
    }

    #[test]
    fn repeated_numbers_are_read_packed_or_not() {
        let mut numbers = Vec::new();
        Value::Varint(300).append_varints(&mut numbers).unwrap();
        Value::Bytes(&[1, 0xac, 0x02])
            .append_varints(&mut numbers)
            .unwrap();
        assert_eq!(numbers, [300, 1, 300]);
    }

    #[test]
    fn malformed_messages_are_errors() {
        for message in [
            &[0x08][..],         // no value
            &[0x08, 0x80],       // varint cut off
            &[0x12, 0x05, b'h'], // shorter than it says
            &[0x0b],             // a group
            &[0x00, 0x00],       // field 0
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
            ], // 65 bits
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, b'h',
            ], // length of 2^64-1
        ] {
            assert_eq!(fields(message), Err(Malformed), "{message:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(message: Vec<u8>) {
            let read = Fields::new(&message).count();
            prop_assert!(read <= message.len());
        }
    }
}
