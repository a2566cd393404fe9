//! Damaging one file of a member, again and again, on members chosen at random.

use std::collections::HashMap;
use std::io::Write;

use super::memory::MemoryFiles;
use super::sets::{Chance, Set};

/// How many cases of each kind of damage there are.
pub const CASES: u64 = 200;

/// A set, and of each member the file that is damaged, with what a second reader says is in it.
pub struct Known<Content> {
    pub set: Set,
    pub files: Vec<(String, Content)>,
}

impl<Content> Known<Content> {
    /// Loads sets, and reads the file whose path ends so.
    pub fn load(names: &[&str], end: &str, read: impl Fn(&[u8]) -> Content) -> Vec<Self> {
        let known = |name: &&str| {
            let set = Set::load(name);
            let files = set.files.iter().map(|files| {
                let path = files.path(end);
                let content = read(&files.contents(&path).bytes);
                (path, content)
            });
            Self {
                files: files.collect(),
                set,
            }
        };
        names.iter().map(known).collect()
    }
}

/// A member about to be damaged.
pub struct Case<'a, Content> {
    pub chance: Chance,
    pub known: &'a Known<Content>,
    pub at: usize,
    pub path: &'a str,
    /// What was in the file.
    pub content: &'a Content,
    pub files: &'a mut MemoryFiles,
}

impl<Content> Case<'_, Content> {
    pub fn bytes(&self) -> &[u8] {
        &self.files.contents(self.path).bytes
    }

    pub fn assert_damaged(&self, what: &str) {
        self.known.set.assert_one_damaged(self.at, self.files, what);
    }
}

/// Runs a kind of damage on members chosen at random, until there were enough cases of it. A case that can't be
/// had of the member chosen gives false.
pub fn cases<Content>(
    kind: &str,
    sets: &[Known<Content>],
    seed: u64,
    mut run: impl FnMut(&mut Case<Content>) -> bool,
) {
    let mut copies = HashMap::new();
    let (mut number, mut done) = (0, 0);
    while done < CASES {
        let mut chance = Chance((seed << 32) | number);
        number += 1;
        assert!(number < 20 * CASES, "too few cases can be had");
        let which = chance.below(sets.len());
        let known = &sets[which];
        let at = chance.below(known.set.files.len());
        let files = copies
            .entry((which, at))
            .or_insert_with(|| known.set.files[at].deep_clone());
        let (path, content) = &known.files[at];
        done += u64::from(run(&mut Case {
            chance,
            known,
            at,
            path,
            content,
            files,
        }));
        files.undo();
    }
    tell(kind, done);
}

/// Says how many cases of a kind were judged as they must be, past the capture of a test's output.
pub fn tell(kind: &str, cases: u64) {
    let _ = writeln!(
        std::io::stdout(),
        "{cases} cases of {kind} were judged as they must be"
    );
}
