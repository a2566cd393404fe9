//! converge with nothing drifted beside `terraform plan`, on the same emulated AWS.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bench::{RuntimeApi, Started, Taken};
use e2e::{EmulatedAws, Fault, Function};
use serde_json::json;

use crate::report::{Report, Row, Target, median, mib, ms};
use crate::{Options, binary};

const RUNS: usize = 3;
/// Calls that wait for each other, at most.
const DEPTH_MAX: f64 = 3.0;
/// So long that calls which need no other's answer are under way at the same time.
const SLOW: Duration = Duration::from_millis(500);
/// Where this variable names a folder, Terraform takes its providers from there and not from the network.
const MIRROR: &str = "TERRAFORM_MIRROR";

/// Measures converge, and Terraform where it is installed.
pub async fn measure(options: &Options, report: &mut Report) {
    let runs = if options.quick { 1 } else { RUNS };
    let aws = EmulatedAws::start().await;
    let mut theirs = Vec::new();
    if let Some(terraform) = Terraform::with_everything_made(&aws) {
        for _ in 0..runs {
            theirs.push(terraform.plan().await);
        }
    }
    // Changes nothing where Terraform made everything, but for the tag that says whose it is.
    let function = Function::start(&aws, "converge", &[]).await;
    let made = function.invoke(json!({})).await;
    made.expect("converge makes all");
    aws.clear_calls().await;
    let mut ours = Vec::new();
    for _ in 0..runs {
        ours.push(converge(&aws).await);
    }
    let calls = aws.calls().await.len() / runs;
    let depth = depth(&aws).await;
    let of = |taken: &[Taken], value: fn(&Taken) -> f64| median(taken.iter().map(value).collect());
    let peer = |value| {
        let measured = (!theirs.is_empty()).then(|| of(&theirs, value));
        measured.map(|value| ("terraform plan".to_owned(), value))
    };
    let wall = |taken: &Taken| ms(taken.wall);
    let peak = |taken: &Taken| mib(taken.peak_kib);
    let target = (!theirs.is_empty()).then_some(Target::Ratio(1.0 / 200.0));
    for (measure, ours, peer, target) in [
        ("wall, ms", of(&ours, wall), peer(wall), target),
        ("peak memory, MiB", of(&ours, peak), peer(peak), None),
        ("calls", calls as f64, None, None),
        (
            "calls that wait for each other",
            depth as f64,
            None,
            Some(Target::Value(DEPTH_MAX)),
        ),
    ] {
        report.add(Row {
            work: "converge, nothing drifted, process start included".to_owned(),
            measure,
            ours,
            peer,
            target,
            floor: None,
        });
    }
}

async fn converge(aws: &EmulatedAws) -> Taken {
    let runtime = RuntimeApi::start(Some(&json!({"action": "plan"}))).await;
    let mut variables = runtime.variables();
    variables.push(("AWS_ENDPOINT_URL".to_owned(), aws.endpoint().to_owned()));
    let process = Started::new(binary("converge"), &[], &variables);
    let (taken, answer) = process.until(runtime.answer()).await;
    let answer = answer.unwrap_or_else(|error| panic!("converge failed: {error}"));
    assert_eq!(answer["outcome"], "unchanged", "{}", answer["text"]);
    taken
}

/// How long the longest chain of calls is in which each began when the one before it had ended, where every call
/// that was made before is slow.
async fn depth(aws: &EmulatedAws) -> usize {
    let calls = aws.calls().await.into_iter();
    let made: BTreeSet<_> = calls.map(|call| (call.service, call.operation)).collect();
    for (service, operation) in &made {
        aws.fault(Fault::delay(service, operation, SLOW)).await;
    }
    aws.clear_calls().await;
    converge(aws).await;
    let calls = aws.calls().await;
    let mut chains: Vec<usize> = Vec::new();
    for call in &calls {
        let before = calls.iter().zip(&chains);
        let before = before.filter(|(earlier, _)| earlier.n <= call.began_after);
        let longest = before.map(|(_, chain)| *chain).max();
        chains.push(longest.unwrap_or(0) + 1);
    }
    chains.into_iter().max().unwrap_or(0)
}

/// A folder in which Terraform has made everything.
struct Terraform {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Terraform {
    /// `None` where there is no Terraform.
    fn with_everything_made(aws: &EmulatedAws) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform/main.tf");
        std::fs::copy(source, folder.path().join("main.tf")).expect("main.tf can be copied");
        let mut variables: Vec<_> = std::env::vars().collect();
        variables.push(("TF_VAR_endpoint".to_owned(), aws.endpoint().to_owned()));
        if let Ok(mirror) = std::env::var(MIRROR) {
            let file = folder.path().join("terraform.rc");
            let text = format!(
                "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n"
            );
            std::fs::write(&file, text).expect("Terraform's settings can be written");
            let file = file.display().to_string();
            variables.push(("TF_CLI_CONFIG_FILE".to_owned(), file));
        }
        let terraform = Self { folder, variables };
        let made = terraform.run(&["init", "-no-color", "-input=false"])
            && terraform.run(&["apply", "-no-color", "-input=false", "-auto-approve"]);
        made.then_some(terraform)
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let run = Command::new("terraform")
            .args(arguments)
            .current_dir(self.folder.path())
            .envs(self.variables.iter().cloned())
            .output();
        run.is_ok_and(|output| output.status.success())
    }

    async fn plan(&self) -> Taken {
        let folder = format!("-chdir={}", self.folder.path().display());
        let arguments = [folder.as_str(), "plan", "-no-color", "-input=false"];
        let (taken, status) = Started::new("terraform", &arguments, &self.variables)
            .to_the_end()
            .await;
        assert!(status.success(), "terraform plan ended with {status}");
        taken
    }
}
