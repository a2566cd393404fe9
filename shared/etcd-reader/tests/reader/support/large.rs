//! A database of 2 GiB whose leaf pages are strewn over the file, made page by page, as each is asked for.

pub const PAGE_BYTES: u64 = 4096;
/// A prime, so that steps of any length pass every leaf.
const LEAVES: u64 = 524_287;
const STEP: u64 = 104_729;
const PER_LEAF: u64 = 4;
const PER_BRANCH: u64 = 100;
/// Pages: two meta pages, the root bucket's, the bucket `key`'s branches, then its leaves.
const FIRST_BRANCH: u64 = 3;

/// A database.
pub struct Large {
    /// Branch pages of each level, the root first.
    levels: Vec<u64>,
    /// The step that undoes [`STEP`].
    step_back: u64,
}

impl Large {
    pub fn new() -> Self {
        let mut levels = vec![LEAVES.div_ceil(PER_BRANCH)];
        while levels[0] > 1 {
            levels.insert(0, levels[0].div_ceil(PER_BRANCH));
        }
        // By Fermat's little theorem.
        let step_back = (0..LEAVES - 2).fold(1, |power, _| power * STEP % LEAVES);
        Self { levels, step_back }
    }

    /// How many entries the bucket `key` has, and its last revision.
    pub fn revisions(&self) -> u64 {
        LEAVES * PER_LEAF
    }

    fn first_leaf(&self) -> u64 {
        FIRST_BRANCH + self.levels.iter().sum::<u64>()
    }

    /// How many pages the file has, all of them in use.
    pub fn pages(&self) -> u64 {
        self.first_leaf() + LEAVES
    }

    /// A page of the file.
    pub fn page(&self, id: u64) -> Vec<u8> {
        let (mut branch, mut level) = (id.saturating_sub(FIRST_BRANCH), 0);
        match id {
            0 | 1 => self.meta(id),
            2 => leaf(
                id,
                &[(
                    b"key".to_vec(),
                    [FIRST_BRANCH.to_le_bytes(), [0; 8]].concat(),
                    true,
                )],
            ),
            _ if id >= self.first_leaf() => {
                // The leaf that lies here: leaves are strewn over the file.
                let place = id - self.first_leaf();
                let number = place * self.step_back % LEAVES;
                let entries: Vec<_> = (0..PER_LEAF)
                    .map(|entry| revision(1 + number * PER_LEAF + entry))
                    .collect();
                leaf(id, &entries)
            }
            _ => {
                while branch >= self.levels[level] {
                    branch -= self.levels[level];
                    level += 1;
                }
                self.branch(id, level, branch)
            }
        }
    }

    fn branch(&self, id: u64, level: usize, number: u64) -> Vec<u8> {
        let below = self.levels.get(level + 1).copied();
        let children =
            number * PER_BRANCH..((number + 1) * PER_BRANCH).min(below.unwrap_or(LEAVES));
        // Leaves below a child of this level.
        let leaves = PER_BRANCH.pow((self.levels.len() - 1 - level) as u32);
        let first_below = FIRST_BRANCH + self.levels[..=level].iter().sum::<u64>();
        let page = |child| {
            if below.is_some() {
                first_below + child
            } else {
                self.first_leaf() + child * STEP % LEAVES
            }
        };
        let elements: Vec<_> = children
            .map(|child| (revision_name(1 + child * leaves * PER_LEAF), page(child)))
            .collect();
        let mut bytes = header(id, 1, elements.len());
        let mut at = 16 + 16 * elements.len();
        for (index, (key, page)) in elements.iter().enumerate() {
            bytes.extend(((at - 16 - 16 * index) as u32).to_le_bytes());
            bytes.extend((key.len() as u32).to_le_bytes());
            bytes.extend(page.to_le_bytes());
            at += key.len();
        }
        elements.iter().for_each(|(key, _)| bytes.extend(key));
        padded(bytes)
    }

    fn meta(&self, id: u64) -> Vec<u8> {
        let mut meta = Vec::new();
        for number in [0xED0C_DAED_u32, 2, PAGE_BYTES as u32, 0] {
            meta.extend(number.to_le_bytes());
        }
        for number in [2, 0, u64::MAX, self.pages(), id] {
            meta.extend(number.to_le_bytes());
        }
        let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        meta.extend(sum.to_le_bytes());
        padded([header(id, 4, 0), meta].concat())
    }
}

fn header(id: u64, flags: u16, count: usize) -> Vec<u8> {
    [
        &id.to_le_bytes()[..],
        &flags.to_le_bytes(),
        &(count as u16).to_le_bytes(),
        &[0; 4],
    ]
    .concat()
}

fn padded(mut page: Vec<u8>) -> Vec<u8> {
    assert!(page.len() <= PAGE_BYTES as usize);
    page.resize(PAGE_BYTES as usize, 0);
    page
}

fn leaf(id: u64, entries: &[(Vec<u8>, Vec<u8>, bool)]) -> Vec<u8> {
    let mut bytes = header(id, 2, entries.len());
    let mut at = 16 + 16 * entries.len();
    for (index, (key, value, is_bucket)) in entries.iter().enumerate() {
        for number in [
            usize::from(*is_bucket),
            at - 16 - 16 * index,
            key.len(),
            value.len(),
        ] {
            bytes.extend((number as u32).to_le_bytes());
        }
        at += key.len() + value.len();
    }
    entries
        .iter()
        .for_each(|(key, value, _)| bytes.extend([&key[..], value].concat()));
    padded(bytes)
}

fn revision_name(revision: u64) -> Vec<u8> {
    [&revision.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

/// A key put once, with a value of some hundred bytes.
fn revision(revision: u64) -> (Vec<u8>, Vec<u8>, bool) {
    let varint = |mut number: u64| {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push(number as u8 | 128);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let key = format!("/registry/pods/ns/{revision}");
    let number = varint(revision);
    let mut value = [
        &[0x0a, key.len() as u8][..],
        key.as_bytes(),
        &[0x10],
        &number,
        &[0x18],
        &number,
        &[0x20, 1, 0x2a],
    ]
    .concat();
    value.extend(varint(800));
    value.extend([b'v'; 800]);
    (revision_name(revision), value, false)
}
