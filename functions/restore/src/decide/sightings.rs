//! Whether a volume that a restore made is gone. Reads lag writes in EC2, and each of its hosts may lag by
//! itself, so that one look without a volume tells nothing: it has to stay away for several in a row.

/// How many looks in a row a volume may stay away that was just made, or masters' filters be behind: reads
/// lag writes in EC2, by seconds.
pub const LOOKS_MAX: u32 = 20;
/// How many looks in a row a volume may stay away that was shown before.
pub const LOOKS_WITHOUT_SHOWN_MAX: u32 = 3;

/// In which looks of one invocation a volume was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    was_shown: bool,
    absences_in_a_row: u32,
}

impl Sightings {
    /// Notes one look more.
    pub fn note(&mut self, is_shown: bool) {
        self.was_shown |= is_shown;
        if is_shown {
            self.absences_in_a_row = 0;
        } else {
            self.absences_in_a_row += 1;
        }
    }

    /// Whether it has stayed away for so long that EC2 is to be asked for it by its id.
    pub fn seem_over(self) -> bool {
        let looks_max = if self.was_shown {
            LOOKS_WITHOUT_SHOWN_MAX
        } else {
            LOOKS_MAX
        };
        self.absences_in_a_row >= looks_max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seem_over(looks: &[bool]) -> bool {
        let mut sightings = Sightings::default();
        for is_shown in looks {
            sightings.note(*is_shown);
        }
        sightings.seem_over()
    }

    #[test]
    fn a_volume_that_was_shown_may_miss_some_looks_and_a_fresh_one_more() {
        let shown_then =
            |absences: usize| seem_over(&[&[true][..], &vec![false; absences]].concat());
        let (shown, fresh) = (LOOKS_WITHOUT_SHOWN_MAX as usize, LOOKS_MAX as usize);
        assert!(shown > 1 && !shown_then(shown - 1) && shown_then(shown));
        assert!(!seem_over(&vec![false; fresh - 1]) && seem_over(&vec![false; fresh]));
    }

    proptest! {
        #[test]
        fn what_is_shown_now_and_then_is_never_gone(gaps in proptest::collection::vec(0..LOOKS_WITHOUT_SHOWN_MAX, 1..30)) {
            let mut looks = Vec::new();
            for gap in gaps {
                looks.push(true);
                looks.extend((0..gap).map(|_| false));
                prop_assert!(!seem_over(&looks), "{:?}", looks);
            }
        }
    }
}
