//! Counts as a sentence has them: `1 snapshot`, `2 snapshots`.

/// How many of something there are. All that the audit counts takes a plain `s`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {}", noun(count, one))
}

/// The noun alone.
pub fn noun(count: usize, one: &str) -> String {
    if count == 1 {
        one.to_owned()
    } else {
        format!("{one}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_plural() {
        let counts = [0, 1, 2].map(|count| counted(count, "restore point"));
        assert_eq!(
            counts,
            ["0 restore points", "1 restore point", "2 restore points"]
        );
    }
}
