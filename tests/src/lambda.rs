//! A function's real binary under the Lambda runtime API, as Lambda runs it.
//!
//! Invariants: one [`Function`] is one execution environment, a process with a runtime API of its
//! own; the process sees no environment variable but Lambda's and those given, and ends with the
//! `Function`.

mod crash;
mod process;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lambda_simulator::invocation::InvocationStatus;
use lambda_simulator::{InvocationBuilder, Simulator};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::emulated_aws::{
    ACCESS_KEY_ID, ACCOUNT, EmulatedAws, EmulatedTime, REGION, RESTORES_TABLE, SECRET_ACCESS_KEY,
};
use crate::schemas::{faults_of_answer, faults_of_event};
pub use crash::CrashPoint;
use process::Process;

/// Every function there is.
pub const FUNCTIONS: [&str; 4] = ["converge", "audit", "restore", "verify"];

/// Much longer than Lambda grants a function to come up: a busy machine starts many of them at once.
const INIT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long what was written may be on its way.
const LOGS_TIMEOUT: Duration = Duration::from_secs(60);
/// How often something that can't notify is looked at.
const POLL: Duration = Duration::from_millis(5);

/// An execution environment of a function.
#[derive(Debug)]
pub struct Function {
    name: String,
    variables: Vec<(String, String)>,
    simulator: SimulatorHandle,
    process: Process,
    /// `None` where its clock is the machine's.
    time: Option<Arc<EmulatedTime>>,
}

/// How to invoke.
#[derive(Clone, Debug)]
pub struct InvocationOptions {
    /// The invocation's request id, at least 8 characters; a new one where there is none. Lambda
    /// repeats it when it retries.
    pub request_id: Option<String>,
    /// Until the deadline. The process is killed then, as Lambda does. By default it ends only what would never
    /// end, on the slowest machine too.
    pub timeout: Duration,
}

impl InvocationOptions {
    /// Until a deadline so far away.
    pub fn within(timeout: Duration) -> Self {
        Self {
            timeout,
            ..Self::default()
        }
    }
}

impl Default for InvocationOptions {
    fn default() -> Self {
        Self {
            request_id: None,
            timeout: Duration::from_secs(600),
        }
    }
}

/// What a caller of Lambda gets for a failed invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaError {
    /// `errorType`: the function's own, or Lambda's `Runtime.ExitError`, `Sandbox.Timedout`.
    pub error_type: String,
    /// `errorMessage`
    pub message: String,
}

/// How a function failed to start.
#[derive(Clone, Debug)]
pub struct FailedStart {
    /// `None` where a signal ended it.
    pub exit_code: Option<i32>,
    /// All its output.
    pub logs: String,
    /// `<errorType>: <errorMessage>` as it told the runtime API.
    pub init_error: Option<String>,
}

impl Function {
    /// Starts the binary `name` with these environment variables, and waits until it asks for an
    /// event.
    ///
    /// # Panics
    ///
    /// When the binary is absent, or ends before it asks.
    pub async fn start(aws: &EmulatedAws, name: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_with(name, environment(aws, variables), None).await
    }

    /// The same, but its clock is that of the emulated AWS, and moves with it.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start); and when libfaketime isn't in the virtual environment.
    pub async fn start_in_emulated_time(
        aws: &EmulatedAws,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let time = Arc::clone(aws.time());
        let mut environment = environment(aws, variables);
        environment.extend(time.variables());
        Self::start_with(name, environment, Some(time)).await
    }

    async fn start_with(
        name: &str,
        variables: Vec<(String, String)>,
        time: Option<Arc<EmulatedTime>>,
    ) -> Self {
        let (simulator, process) = launch(name, &variables).await;
        let function = Self {
            name: name.to_owned(),
            variables,
            simulator,
            process,
            time,
        };
        function.wait_until_ready().await;
        function
    }

    /// Starts a binary that can't run with these variables, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it is still there after two minutes.
    pub async fn start_expecting_exit(
        aws: &EmulatedAws,
        name: &str,
        variables: &[(&str, &str)],
    ) -> FailedStart {
        let (simulator, process) = launch(name, &environment(aws, variables)).await;
        let status = timeout(INIT_TIMEOUT, process.exited())
            .await
            .unwrap_or_else(|_| panic!("{name} runs, though it should not start"));
        FailedStart {
            exit_code: status.code(),
            logs: process.logs(),
            init_error: simulator.0.get_init_error().await,
        }
    }

    /// Invokes with a new request id.
    ///
    /// # Errors
    ///
    /// What Lambda gives a caller of a failed invocation.
    pub async fn invoke(&self, event: Value) -> Result<Value, LambdaError> {
        self.invoke_with(event, InvocationOptions::default()).await
    }

    /// Invokes.
    ///
    /// # Errors
    ///
    /// What Lambda gives a caller of a failed invocation.
    pub async fn invoke_with(
        &self,
        event: Value,
        options: InvocationOptions,
    ) -> Result<Value, LambdaError> {
        let deadline = Instant::now() + options.timeout;
        let request_id = self.enqueue(event.clone(), &options).await;
        let result = tokio::select! {
            // An answer that was given before the process ended counts.
            biased;
            result = self.result_of(&request_id) => result,
            status = self.process.exited() => Err(LambdaError {
                error_type: "Runtime.ExitError".to_owned(),
                message: format!("RequestId: {request_id} Error: Runtime exited: {status}"),
            }),
            () = tokio::time::sleep_until(deadline) => {
                self.process.kill().await;
                Err(LambdaError {
                    error_type: "Sandbox.Timedout".to_owned(),
                    message: format!(
                        "RequestId: {request_id} Error: Task timed out after {:.2} seconds",
                        options.timeout.as_secs_f64()
                    ),
                })
            }
        };
        if let Ok(answer) = &result {
            self.check(&event, answer);
        }
        result
    }

    /// Whatever a test is about: what is answered is of the function's schemas.
    fn check(&self, event: &Value, answer: &Value) {
        let faults = faults_of_event(&self.name, event);
        assert!(faults.is_empty(), "{faults:#?}\n{event:#}");
        let faults = faults_of_answer(&self.name, answer);
        assert!(faults.is_empty(), "{faults:#?}\n{answer:#}");
    }

    /// Ends the process at once, in the middle of whatever it does: the running invocation, if any,
    /// gets `Runtime.ExitError`.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Stops the process where it is, as a machine does that has no time for it.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Has the process go on after [`Self::freeze`].
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// A fresh execution environment of the same function; the old one ends.
    pub async fn restart(&mut self) {
        self.process.kill().await;
        let (simulator, process) = launch(&self.name, &self.variables).await;
        self.simulator = simulator;
        self.process = process;
        self.wait_until_ready().await;
    }

    /// The most memory that the process has had at any time, in MiB.
    ///
    /// # Panics
    ///
    /// When it has ended, or the kernel doesn't tell.
    pub fn memory_peak_mib(&self) -> f64 {
        let peak_kib = self.process.memory_peak_kib();
        let peak_kib = peak_kib.unwrap_or_else(|| panic!("{}: no memory is told of", self.name));
        f64::from(u32::try_from(peak_kib).expect("less than TiB")) / 1024.0
    }

    /// What the process wrote so far, standard output and standard error.
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// What the process wrote so far, once it is as it should be: what was written before an answer may still be
    /// on its way here when the answer came.
    ///
    /// # Panics
    ///
    /// When it never is.
    pub async fn logs_once(&self, is_there: impl Fn(&str) -> bool) -> String {
        let all_written = async {
            loop {
                let logs = self.logs();
                if is_there(&logs) {
                    return logs;
                }
                sleep(POLL).await;
            }
        };
        let written = timeout(LOGS_TIMEOUT, all_written).await;
        written.unwrap_or_else(|_| panic!("{} never wrote it: {}", self.name, self.logs()))
    }

    async fn enqueue(&self, event: Value, options: &InvocationOptions) -> String {
        let timeout_ms = options.timeout.as_millis();
        let mut invocation = InvocationBuilder::new()
            .payload(event)
            .timeout_ms(timeout_ms.try_into().unwrap_or(u64::MAX))
            .function_arn(format!(
                "arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}",
                self.name
            ))
            .build()
            .expect("the invocation has a payload");
        if let Some(time) = &self.time {
            // Lambda's clock and the function's are the same.
            invocation.deadline += time.ahead();
        }
        if let Some(request_id) = &options.request_id {
            // The simulator logs the first eight bytes.
            assert!(
                request_id.len() >= 8 && request_id.is_ascii(),
                "{request_id}: too short"
            );
            invocation.request_id.clone_from(request_id);
            invocation.aws_request_id.clone_from(request_id);
        }
        self.simulator.0.enqueue(invocation).await
    }

    /// Polls: the simulator's own wait can miss an answer that comes between its look and its wait.
    async fn result_of(&self, request_id: &str) -> Result<Value, LambdaError> {
        loop {
            let state = self.simulator.0.get_invocation_state(request_id).await;
            let state = state.expect("the invocation was enqueued");
            match (state.status, state.response, state.error) {
                (InvocationStatus::Success, Some(response), _) => return Ok(response.payload),
                (InvocationStatus::Error, _, Some(error)) => {
                    return Err(LambdaError {
                        error_type: error.error_type,
                        message: error.error_message,
                    });
                }
                _ => sleep(POLL).await,
            }
        }
    }

    async fn wait_until_ready(&self) {
        let ready = async {
            while !self.simulator.0.is_initialized().await {
                sleep(POLL).await;
            }
        };
        tokio::select! {
            () = ready => {}
            status = self.process.exited() => {
                panic!("{} ended at its start, {status}: {}", self.name, self.logs());
            }
            () = sleep(INIT_TIMEOUT) => {
                panic!("{} never asked for an event: {}", self.name, self.logs());
            }
        }
    }
}

impl fmt::Display for LambdaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl std::error::Error for LambdaError {}

/// The simulator, which has no `Debug` of its own.
struct SimulatorHandle(Simulator);

impl fmt::Debug for SimulatorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.runtime_api_url())
    }
}

async fn launch(name: &str, variables: &[(String, String)]) -> (SimulatorHandle, Process) {
    let simulator = Simulator::builder()
        .function_name(name)
        .region(REGION)
        .account_id(ACCOUNT)
        .handler("bootstrap")
        .build()
        .await
        .unwrap_or_else(|error| panic!("a runtime API for {name}: {error}"));
    let process = Process::start(name, simulator.lambda_env_vars(), variables);
    (SimulatorHandle(simulator), process)
}

fn environment(aws: &EmulatedAws, variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let given = [
        ("AWS_ENDPOINT_URL", aws.endpoint()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("RESTORES_TABLE", RESTORES_TABLE),
    ];
    given
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
