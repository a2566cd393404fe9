//! Where a function runs: partition, Region and account, read off the ARN it was invoked by, so that
//! no call is spent on asking.

use crate::diagnostic::{Diagnostic, ErrorType};

/// Where a function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// `eu-west-2`
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Deployment {
    /// Reads `arn:<partition>:lambda:<region>:<account>:function:<name>`.
    ///
    /// # Errors
    ///
    /// [`ErrorType::InvalidSetting`] when the ARN isn't one of a Lambda function.
    pub fn of_function(arn: &str) -> Result<Self, Diagnostic> {
        match arn.split(':').collect::<Vec<_>>()[..] {
            ["arn", partition, "lambda", region, account, "function", ..]
                if !partition.is_empty()
                    && !region.is_empty()
                    && account.len() == 12
                    && account.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(Self {
                    partition: partition.to_owned(),
                    region: region.to_owned(),
                    account: account.to_owned(),
                })
            }
            _ => Err(Diagnostic::new(
                ErrorType::InvalidSetting,
                format!(
                    "the invoked function's ARN \"{arn}\" is not \
                     arn:<partition>:lambda:<region>:<account>:function:<name>, \
                     so the account is unknown"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_region_and_account_come_from_the_arn() {
        let arn = "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:converge:live";
        let deployment = Deployment::of_function(arn).unwrap();
        assert_eq!(deployment.partition, "aws-us-gov");
        assert_eq!(deployment.region, "us-gov-west-1");
        assert_eq!(deployment.account, "123456789012");
        for wrong in [
            "",
            "arn:aws:lambda:eu-west-2:1234:function:x",
            "arn:aws:iam::123456789012:role/x",
        ] {
            assert!(Deployment::of_function(wrong).is_err(), "{wrong}");
        }
    }
}
