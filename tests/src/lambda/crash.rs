//! Ending a function between two of its calls: what a crash, or a timeout, leaves behind.

use serde_json::Value;
use tokio::time::sleep;

use super::{Function, LambdaError, POLL};
use crate::emulated_aws::{Call, EmulatedAws, Fault};

/// Where an invocation is cut off, in AWS calls of that invocation counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// The call never reaches AWS.
    Before(u32),
    /// AWS does what the call asks; the function never hears of it.
    After(u32),
}

impl Function {
    /// Invokes and kills the process at a point; [`restart`](Self::restart) it then. `None` when it
    /// came there, the result when the invocation ended before.
    ///
    /// All that the function asks of AWS from that point on is lost, so what is left behind does not
    /// depend on how fast the kill is, nor on whether the invocation fails by itself before it. Ends all
    /// planted faults.
    pub async fn invoke_and_crash(
        &self,
        aws: &EmulatedAws,
        event: Value,
        point: CrashPoint,
    ) -> Option<Result<Value, LambdaError>> {
        match point {
            CrashPoint::Before(n) => {
                aws.fault(Fault::drop_request("*", "*").nth(n).forever())
                    .await;
            }
            CrashPoint::After(n) => {
                aws.fault(Fault::drop_answer("*", "*").nth(n)).await;
                aws.fault(Fault::drop_request("*", "*").nth(n + 1).forever())
                    .await;
            }
        }
        let ended_before = aws.calls().await.len();
        let result = tokio::select! {
            result = self.invoke(event) => Some(result),
            () = until_reached(aws, ended_before, point) => None,
        };
        let came_there = calls_since(aws, ended_before).await.iter().any(is_cut_off);
        if came_there {
            self.kill().await;
            until_reached(aws, ended_before, point).await;
        }
        aws.clear_faults().await;
        result.filter(|_| !came_there)
    }
}

/// Waits until all calls before a point, and the one at it, have ended. A call is in the log once it has, and
/// so has what it did; where several run at the same time, those that are lost may end first.
async fn until_reached(aws: &EmulatedAws, ended_before: usize, point: CrashPoint) {
    loop {
        let calls = calls_since(aws, ended_before).await;
        let lost = calls.iter().filter(|call| is_lost(call)).count();
        let served = calls.len() - lost;
        let is_reached = match point {
            CrashPoint::Before(n) => lost > 0 && served + 1 >= n as usize,
            CrashPoint::After(n) => served >= n as usize,
        };
        if is_reached {
            return;
        }
        sleep(POLL).await;
    }
}

async fn calls_since(aws: &EmulatedAws, ended_before: usize) -> Vec<Call> {
    aws.calls().await.split_off(ended_before)
}

fn is_lost(call: &Call) -> bool {
    call.fault.as_deref() == Some("drop_request")
}

/// Whether the call is at the point, or after it.
fn is_cut_off(call: &Call) -> bool {
    is_lost(call) || call.fault.as_deref() == Some("drop_answer")
}
