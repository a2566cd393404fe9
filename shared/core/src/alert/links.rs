//! Where a reader of an alert goes next: the dashboard in AWS's console, the page about a finding, the
//! restore points of a cluster.

use serde_json::json;

use crate::aws_cli;
use crate::deployment::Deployment;
use crate::ids::ClusterName;
use crate::settings::Settings;

/// Where the documentation's pages are in this project's repository.
const DOCUMENTATION: &str = "docs";
/// The page about findings, one section each, by their names.
const FINDINGS: &str = "reference/findings.md";

/// What addresses and commands are made of.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// The settings that name the stack's other parts.
    pub settings: &'a Settings,
    /// Where the function runs.
    pub deployment: &'a Deployment,
}

impl Links<'_> {
    /// The console's address of the stack's dashboard; `None` where its name isn't set, or nobody knows
    /// where the partition's console is.
    pub fn dashboard(&self) -> Option<String> {
        let name = self.settings.dashboard_name.as_ref()?;
        let region = &self.deployment.region;
        let console = match self.deployment.partition.as_str() {
            "aws" => "console.aws.amazon.com",
            "aws-cn" => "console.amazonaws.cn",
            "aws-us-gov" => "console.amazonaws-us-gov.com",
            _ => return None,
        };
        Some(format!(
            "https://{console}/cloudwatch/home?region={region}#dashboards/dashboard/{name}"
        ))
    }

    /// The section about a kind of finding: an address where one is set, else the file in the repository.
    pub fn finding(&self, kind: &str) -> String {
        let documentation = self.settings.documentation_url.as_deref();
        let documentation = documentation.unwrap_or(DOCUMENTATION);
        format!("{documentation}/{FINDINGS}#{kind}")
    }

    /// The command that lists a cluster's restore points, ready to be pasted; `None` where restore would
    /// not take the cluster's name, which may be anything that a tag says.
    pub fn list_restore_points(&self, cluster: &ClusterName) -> Option<String> {
        let event = list_event(cluster)?;
        Some(match &self.settings.restore_function {
            Some(function) => format!(
                "AWS_MAX_ATTEMPTS=1 {} && jq -r '.text // \"\\(.errorType): \\(.errorMessage)\"' \
                 restore-points.json",
                aws_cli::command(
                    &self.deployment.region,
                    "lambda invoke",
                    format_args!(
                        "--cli-read-timeout 920 --function-name {function} --cli-binary-format \
                         raw-in-base64-out --payload '{event}' restore-points.json"
                    )
                )
            ),
            None => format!("invoke restore with {event}"),
        })
    }

    /// The same in as few words as will do. Nothing is lost if the CLI invokes it twice.
    pub fn list_restore_points_briefly(&self, cluster: &ClusterName) -> Option<String> {
        let event = list_event(cluster)?;
        Some(match &self.settings.restore_function {
            Some(function) => aws_cli::command(
                &self.deployment.region,
                "lambda invoke",
                format_args!(
                    "--function-name {function} --cli-binary-format raw-in-base64-out --payload '{event}' \
                     restore-points.json"
                ),
            ),
            None => format!("invoke restore with {event}"),
        })
    }
}

fn list_event(cluster: &ClusterName) -> Option<String> {
    let event = json!({"action": "list", "cluster": cluster.as_str()});
    cluster.is_dns_name().then(|| event.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Settings::from_variables(&|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    fn deployment(partition: &str, region: &str) -> Deployment {
        let arn = format!("arn:{partition}:lambda:{region}:123456789012:function:audit");
        Deployment::of_function(&arn).unwrap()
    }

    #[test]
    fn the_dashboard_is_in_the_partitions_console() {
        let settings = settings(&[("DASHBOARD_NAME", "etcd-backup-x")]);
        let dashboard = |partition, region| {
            let links = Links {
                settings: &settings,
                deployment: &deployment(partition, region),
            };
            links.dashboard()
        };
        let expected = "https://console.aws.amazon.com/cloudwatch/home?region=eu-west-2#dashboards/dashboard/etcd-backup-x";
        assert_eq!(dashboard("aws", "eu-west-2").as_deref(), Some(expected));
        let expected = "https://console.amazonaws.cn/cloudwatch/home?region=cn-north-1#dashboards/dashboard/etcd-backup-x";
        assert_eq!(dashboard("aws-cn", "cn-north-1").as_deref(), Some(expected));
        let expected = "https://console.amazonaws-us-gov.com/cloudwatch/home?region=us-gov-west-1#dashboards/dashboard/etcd-backup-x";
        assert_eq!(
            dashboard("aws-us-gov", "us-gov-west-1").as_deref(),
            Some(expected)
        );
        assert_eq!(dashboard("aws-iso", "us-iso-east-1"), None);
    }

    #[test]
    fn without_names_in_the_settings_links_are_words() {
        let (settings, deployment) = (settings(&[]), deployment("aws", "eu-west-2"));
        let links = Links {
            settings: &settings,
            deployment: &deployment,
        };
        assert_eq!(links.dashboard(), None);
        insta::assert_snapshot!(links.finding("snapshot_gap"), @"docs/reference/findings.md#snapshot_gap");
        insta::assert_snapshot!(
            links.list_restore_points(&"k8s.mycompany.tld".into()).unwrap(),
            @r#"invoke restore with {"action":"list","cluster":"k8s.mycompany.tld"}"#
        );
    }

    #[test]
    fn a_command_is_safe_to_paste_whatever_a_tag_says() {
        let settings = settings(&[
            ("RESTORE_FUNCTION", "etcd-backup-restore"),
            ("DOCUMENTATION_URL", "https://example.org/docs"),
        ]);
        let deployment = deployment("aws", "eu-west-2");
        let links = Links {
            settings: &settings,
            deployment: &deployment,
        };
        insta::assert_snapshot!(links.finding("snapshot_gap"), @"https://example.org/docs/reference/findings.md#snapshot_gap");
        insta::assert_snapshot!(
            links.list_restore_points(&"k8s.mycompany.tld".into()).unwrap(),
            @r#"AWS_MAX_ATTEMPTS=1 aws lambda invoke --region eu-west-2 --cli-read-timeout 920 --function-name etcd-backup-restore --cli-binary-format raw-in-base64-out --payload '{"action":"list","cluster":"k8s.mycompany.tld"}' restore-points.json && jq -r '.text // "\(.errorType): \(.errorMessage)"' restore-points.json"#
        );
        for wrong in ["", "k8s'; rm -rf ~ #", "$(reboot)", "größe.tld", "k8s.*"] {
            let cluster = ClusterName::from(wrong);
            assert_eq!(links.list_restore_points(&cluster), None, "{wrong}");
            assert_eq!(links.list_restore_points_briefly(&cluster), None, "{wrong}");
        }
    }
}
