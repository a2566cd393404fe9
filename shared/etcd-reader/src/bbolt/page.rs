//! One page: its header and its elements, each checked against the page's bounds.
//!
//! Source: bbolt, `page.go` (`page`, `branchPageElement`, `leafPageElement`), `freelist.go`.

pub(super) const HEADER_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const FREELIST: u16 = 0x10;
const BUCKET_LEAF: u32 = 0x01;
/// bbolt's `MaxKeySize`.
const KEY_BYTES_MAX: usize = 32768;
/// Where a freelist's count doesn't fit the header, it stands in the first id's place.
const COUNT_ELSEWHERE: u16 = 0xffff;

/// What a page's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    flags: u16,
    count: u16,
    /// Pages that follow this one and belong to it.
    pub(super) overflow: u32,
}

/// What a page holds.
pub(super) enum Content<'a> {
    Branch(Elements<'a>),
    Leaf(Elements<'a>),
}

/// The elements of a page, all of which lie inside it.
pub(super) struct Elements<'a> {
    page: &'a [u8],
    count: usize,
    leaf: bool,
}

pub(super) struct BranchElement<'a> {
    pub(super) key: &'a [u8],
    pub(super) page: u64,
}

pub(super) struct LeafElement<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) is_bucket: bool,
}

impl Header {
    pub(super) fn decode(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            flags: u16_at(page, 8)?,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?,
        })
    }

    /// Looks at a page of this header; the error says what is wrong with it.
    pub(super) fn content<'a>(&self, page: &'a [u8]) -> Result<Content<'a>, &'static str> {
        let elements = |leaf| Elements::new(page, usize::from(self.count), leaf);
        match self.flags {
            BRANCH => Ok(Content::Branch(elements(false)?)),
            LEAF => Ok(Content::Leaf(elements(true)?)),
            _ => Err("is neither a branch nor a leaf"),
        }
    }

    /// The ids in a page that holds a freelist.
    pub(super) fn free_pages<'a>(
        &self,
        page: &'a [u8],
    ) -> Result<impl Iterator<Item = u64> + use<'a>, &'static str> {
        if self.flags != FREELIST {
            return Err("is no freelist");
        }
        let mut ids = page.get(HEADER_BYTES..).unwrap_or_default();
        let mut count = u64::from(self.count);
        if self.count == COUNT_ELSEWHERE {
            count = u64_at(ids, 0).ok_or("has no count")?;
            ids = &ids[8..];
        }
        let ids = usize::try_from(count)
            .ok()
            .and_then(|count| ids.get(..count.checked_mul(8)?))
            .ok_or("holds more than it has room for")?;
        Ok(ids.chunks_exact(8).filter_map(|id| u64_at(id, 0)))
    }
}

impl<'a> Elements<'a> {
    fn new(page: &'a [u8], count: usize, leaf: bool) -> Result<Self, &'static str> {
        let elements = Self { page, count, leaf };
        if HEADER_BYTES + count * ELEMENT_BYTES > page.len() {
            return Err("has more elements than room");
        }
        // Elements that overlap could make a small page read as terabytes.
        let mut bytes = HEADER_BYTES + count * ELEMENT_BYTES;
        for index in 0..count {
            let (key, value) = elements
                .key_and_value(index)
                .ok_or("has an element that lies outside it")?;
            if key.len() > KEY_BYTES_MAX {
                return Err("has a key that is longer than any key may be");
            }
            bytes += key.len() + value.len();
        }
        if bytes > page.len() {
            return Err("has elements that overlap");
        }
        Ok(elements)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = LeafElement<'a>> {
        (0..self.count).filter_map(|index| self.leaf_element(index))
    }

    pub(super) fn branches(&self) -> impl Iterator<Item = BranchElement<'a>> {
        (0..self.count).filter_map(|index| self.branch_element(index))
    }

    fn key_and_value(&self, index: usize) -> Option<(&'a [u8], &'a [u8])> {
        if self.leaf {
            self.leaf_element(index)
                .map(|element| (element.key, element.value))
        } else {
            self.branch_element(index)
                .map(|element| (element.key, &[][..]))
        }
    }

    fn branch_element(&self, index: usize) -> Option<BranchElement<'a>> {
        debug_assert!(!self.leaf);
        let at = HEADER_BYTES + index * ELEMENT_BYTES;
        let key = self.data(at, u32_at(self.page, at)?, u32_at(self.page, at + 4)?)?;
        Some(BranchElement {
            key,
            page: u64_at(self.page, at + 8)?,
        })
    }

    fn leaf_element(&self, index: usize) -> Option<LeafElement<'a>> {
        debug_assert!(self.leaf);
        let at = HEADER_BYTES + index * ELEMENT_BYTES;
        let key_bytes = u32_at(self.page, at + 8)?;
        let data = self.data(
            at,
            u32_at(self.page, at + 4)?,
            key_bytes.checked_add(u32_at(self.page, at + 12)?)?,
        )?;
        let (key, value) = data.split_at_checked(key_bytes as usize)?;
        Some(LeafElement {
            key,
            value,
            is_bucket: u32_at(self.page, at)? & BUCKET_LEAF != 0,
        })
    }

    /// Data at a position relative to its element, behind all elements.
    fn data(&self, element_at: usize, position: u32, bytes: u32) -> Option<&'a [u8]> {
        let start = element_at.checked_add(position as usize)?;
        if start < HEADER_BYTES + self.count * ELEMENT_BYTES {
            return None;
        }
        self.page.get(start..start.checked_add(bytes as usize)?)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
