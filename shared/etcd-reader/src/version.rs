//! etcd's version, which decides by which rules a member starts.

use std::fmt;

/// The newest minor version whose sources these rules were read from.
const NEWEST_KNOWN: Version = Version { major: 3, minor: 7 };

/// A version, as far as it decides anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u64,
    pub(crate) minor: u64,
}

impl Version {
    /// From here on, members are known by the database and not by the v2 store.
    pub(crate) const MEMBERS_IN_DATABASE: Self = Self { major: 3, minor: 6 };
    /// From here on, the log's newest snapshot record counts, and no `*.snap` file is read.
    pub(crate) const SNAPSHOTS_IN_LOG: Self = Self { major: 3, minor: 7 };

    /// Reads `3.5.30`, `v3.5.30` and `3.6.0-rc.1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('v').split('.');
        Some(Self {
            major: parts.next()?.parse().ok()?,
            minor: parts.next()?.parse().ok()?,
        })
    }

    pub(crate) fn is_known(self) -> bool {
        self.major == 3 && self <= NEWEST_KNOWN
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for text in ["3.5.30", "v3.5.0", "3.5.0-rc.1"] {
            assert_eq!(Version::parse(text), Some(Version { major: 3, minor: 5 }));
        }
        assert_eq!(Version::parse("three"), None);
        assert!(
            !Version { major: 3, minor: 8 }.is_known()
                && !Version { major: 2, minor: 3 }.is_known()
        );
    }
}
