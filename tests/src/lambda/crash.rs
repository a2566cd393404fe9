//! Ending a function between two of its calls: what a crash, or a timeout, leaves behind.

use serde_json::Value;
use tokio::time::sleep;

use super::{Function, LambdaError, POLL};
use crate::emulated_aws::{EmulatedAws, Fault};

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
    /// was killed, the result when the invocation ended before it came there.
    ///
    /// All that the function asks of AWS from that point on is lost, so what is left behind does not
    /// depend on how fast the kill is. Ends all planted faults.
    pub async fn invoke_and_crash(
        &self,
        aws: &EmulatedAws,
        event: Value,
        point: CrashPoint,
    ) -> Option<Result<Value, LambdaError>> {
        let n = match point {
            CrashPoint::Before(n) => {
                aws.fault(Fault::drop_request("*", "*").nth(n).forever())
                    .await;
                n
            }
            CrashPoint::After(n) => {
                aws.fault(Fault::drop_answer("*", "*").nth(n)).await;
                aws.fault(Fault::drop_request("*", "*").nth(n + 1).forever())
                    .await;
                n
            }
        };
        let ended_before = aws.calls().await.len();
        let reached = async {
            // A call is in the log once it has ended, and so has what it did.
            while aws.calls().await.len() < ended_before + n as usize {
                sleep(POLL).await;
            }
        };
        let result = tokio::select! {
            result = self.invoke(event) => Some(result),
            () = reached => None,
        };
        if result.is_none() {
            self.kill().await;
        }
        aws.clear_faults().await;
        result
    }
}
