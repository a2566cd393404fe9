//! Waiting for a lease: what to do about it, by what was seen of it so far.

use etcd_backup_core::restore_table::{LeaseHolder, SentWrites, StoredLease, Token};
use tokio::time::Instant;

use super::{ENDS_EARLY, LASTS};

/// What one who wants a lease does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is free, or its holder is gone: take it, if it still carries this token.
    Take(Option<Token>),
    /// It is taken: by the write with this token, sent then.
    Hold(Token, Instant),
    /// Its holder may be alive.
    Wait(LeaseHolder),
    /// Its holder is alive, and works for another event.
    Refuse(LeaseHolder),
}

/// What one who wants a lease has seen of it.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    event: &'a str,
    /// The token of the lease that another holds, and when it was first seen.
    seen: Option<(Token, Instant)>,
    sent: SentWrites<Instant>,
}

impl<'a> Waiting<'a> {
    /// For an event, given by its fingerprint.
    pub(super) fn new(event: &'a str) -> Self {
        Self {
            event,
            seen: None,
            sent: SentWrites::default(),
        }
    }

    /// Notes that the lease is being taken; call it before that is sent.
    pub(super) fn sends(&mut self, token: Token, at: Instant) {
        self.sent.note(token, at);
    }

    /// What to do about the lease as it was read; `now` is after the read's answer.
    pub(super) fn look(&mut self, lease: Option<&StoredLease>, now: Instant) -> Move {
        let Some(lease) = lease else {
            return Move::Take(None);
        };
        let token = &lease.token;
        if let Some(sent_at) = self.sent.landed(token) {
            // Where the answer came late, too little is left of the lease, and it is taken anew.
            return if now + ENDS_EARLY < sent_at + LASTS {
                Move::Hold(token.clone(), sent_at)
            } else {
                Move::Take(Some(token.clone()))
            };
        }
        let Some(holder) = &lease.held else {
            return Move::Take(Some(token.clone()));
        };
        let wait = Move::Wait(holder.clone());
        match &self.seen {
            Some((seen, since)) if seen == token && now >= *since + LASTS => {
                Move::Take(Some(token.clone()))
            }
            Some((seen, _)) if seen == token => wait,
            // The lease was written since it was seen first, so its holder is alive.
            Some(_) if holder.event != self.event => Move::Refuse(holder.clone()),
            _ => {
                self.seen = Some((token.clone(), now));
                wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etcd_backup_core::restore_table::Tokens;

    use super::*;

    fn held(tokens: &Tokens, event: &str) -> StoredLease {
        StoredLease {
            token: tokens.fresh(),
            held: Some(LeaseHolder {
                invocation_id: tokens.holder().to_owned(),
                event: event.to_owned(),
                restore_id: None,
            }),
        }
    }

    fn wait_for(lease: &StoredLease) -> Move {
        Move::Wait(lease.held.clone().unwrap())
    }

    #[test]
    fn a_free_lease_is_taken_at_once() {
        let mut waiting = Waiting::new("event");
        assert_eq!(waiting.look(None, Instant::now()), Move::Take(None));
        let given_back = StoredLease {
            token: Tokens::new("theirs").fresh(),
            held: None,
        };
        let taking = waiting.look(Some(&given_back), Instant::now());
        assert_eq!(taking, Move::Take(Some(given_back.token)));
    }

    #[test]
    fn a_holder_that_renews_is_waited_for_or_refuses_another_event() {
        let theirs = Tokens::new("theirs");
        let start = Instant::now();
        let mut for_same = Waiting::new("event");
        let mut for_other = Waiting::new("other event");
        let first = held(&theirs, "event");
        for waiting in [&mut for_same, &mut for_other] {
            assert_eq!(waiting.look(Some(&first), start), wait_for(&first));
        }
        for renewals in 1..100 {
            let now = start + Duration::from_secs(2 * renewals);
            let renewed = held(&theirs, "event");
            assert_eq!(for_same.look(Some(&renewed), now), wait_for(&renewed));
            let refuse = Move::Refuse(renewed.held.clone().unwrap());
            assert_eq!(for_other.look(Some(&renewed), now), refuse);
        }
    }

    #[test]
    fn a_holder_that_was_killed_is_followed_whatever_the_event() {
        let start = Instant::now();
        for event in ["event", "other event"] {
            let mut waiting = Waiting::new(event);
            let left = held(&Tokens::new("theirs"), "event");
            let just_before = start + LASTS - Duration::from_millis(1);
            for now in [start, start + LASTS / 2, just_before] {
                assert_eq!(waiting.look(Some(&left), now), wait_for(&left));
            }
            let taking = waiting.look(Some(&left), start + LASTS);
            assert_eq!(taking, Move::Take(Some(left.token)));
        }
    }

    #[test]
    fn a_taking_whose_answer_was_lost_is_recognised() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut waiting = Waiting::new("event");
        let own = held(&Tokens::new("ours"), "event");
        waiting.sends(own.token.clone(), start);
        let hold = Move::Hold(own.token.clone(), start);
        assert_eq!(waiting.look(Some(&own), after(7)), hold);

        let late = held(&Tokens::new("ours"), "event");
        waiting.sends(late.token.clone(), start);
        let again = Move::Take(Some(late.token.clone()));
        assert_eq!(waiting.look(Some(&late), after(8)), again);
    }

    #[test]
    fn another_that_was_faster_is_waited_for() {
        let mut waiting = Waiting::new("event");
        assert_eq!(waiting.look(None, Instant::now()), Move::Take(None));
        waiting.sends(Tokens::new("ours").fresh(), Instant::now());
        let theirs = held(&Tokens::new("theirs"), "event");
        assert_eq!(
            waiting.look(Some(&theirs), Instant::now()),
            wait_for(&theirs)
        );
    }
}
