//! How long converge waits for AWS, and how often it tries again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Left for the answer when an invocation's time runs out.
const MARGIN: Duration = Duration::from_secs(10);
/// A new role is usable within seconds, seldom within more than half a minute; and the AWS CLI, which
/// gives up on an invocation after a minute, should still get its answer.
const WAIT_MAX: Duration = Duration::from_secs(50);
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Until when a call may be tried again, for AWS to show what was written before.
#[derive(Clone, Copy, Debug)]
pub struct RetryLimits {
    end: Instant,
}

/// The pauses of one wait: each twice as long as the one before, up to a bound.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    end: Instant,
    next: Duration,
}

impl RetryLimits {
    /// Waits end well before the deadline.
    pub fn until(deadline: Instant) -> Self {
        Self {
            end: deadline.checked_sub(MARGIN).unwrap_or(deadline),
        }
    }

    /// A wait that begins now.
    pub fn pauses(&self) -> Pauses {
        self.pauses_within(WAIT_MAX)
    }

    /// A wait that begins now and is short at the longest.
    pub fn pauses_within(&self, longest: Duration) -> Pauses {
        Pauses {
            end: self.end.min(Instant::now() + longest),
            next: PAUSE_FIRST,
        }
    }
}

impl Pauses {
    /// Pauses, and says whether to try again; false, at once, when the time is up.
    pub async fn again(&mut self) -> bool {
        if Instant::now() + self.next > self.end {
            return false;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        true
    }
}
