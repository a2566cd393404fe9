# What converge makes with its default settings, said in Terraform; with `rich`, a policy that says more
# than the settings do, as a team may have made it before converge adopts it.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "endpoint" {
  type = string
}

variable "rich" {
  type    = bool
  default = false
}

provider "aws" {
  region                      = "eu-west-2"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true

  endpoints {
    dlm = var.endpoint
    iam = var.endpoint
    sts = var.endpoint
  }

  # converge records there since when the schedule is as it is.
  ignore_tags {
    key_prefixes = ["etcd-backup/"]
  }
}

locals {
  account = "123456789012"
  tags    = { managed-by = "etcd-backup" }

  # What the rules of the rich policy need.
  rules = [
    "ec2:CopySnapshot",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeFastSnapshotRestores",
    "ec2:DescribeSnapshotAttribute",
    "ec2:DisableFastSnapshotRestores",
    "ec2:EnableFastSnapshotRestores",
    "ec2:ModifySnapshotAttribute",
  ]
}

resource "aws_iam_role" "dlm" {
  name = "dlm-lifecycle-role"
  tags = local.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "dlm.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:aws:dlm:*:${local.account}:policy/*" }
      }
    }]
  })
}

resource "aws_iam_policy" "dlm" {
  name = "dlm-policy"
  tags = local.tags
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Action = concat([
          "ec2:CreateSnapshot",
          "ec2:CreateSnapshots",
          "ec2:DeleteSnapshot",
          "ec2:DescribeInstances",
          "ec2:DescribeSnapshots",
          "ec2:DescribeVolumes",
        ], var.rich ? local.rules : [])
        Resource = "*"
      },
      {
        Effect   = "Allow"
        Action   = ["ec2:CreateTags"]
        Resource = "arn:aws:ec2:*::snapshot/*"
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "dlm" {
  role       = aws_iam_role.dlm.name
  policy_arn = aws_iam_policy.dlm.arn
}

resource "aws_dlm_lifecycle_policy" "dlm" {
  description        = "etcd data lifecycle policy"
  execution_role_arn = aws_iam_role.dlm.arn
  state              = "ENABLED"
  tags               = local.tags

  policy_details {
    resource_types = ["VOLUME"]
    target_tags    = { "k8s.io/role/master" = "1" }

    schedule {
      name        = "Daily 2 week etcd snapshots"
      copy_tags   = true
      tags_to_add = { SnapshotCreator = "DLM" }

      create_rule {
        cron_expression = var.rich ? "cron(0 6 * * ? *)" : null
        interval        = var.rich ? null : 24
        interval_unit   = var.rich ? null : "HOURS"
        times           = var.rich ? null : ["06:00"]
      }

      retain_rule {
        count = 14
      }

      dynamic "cross_region_copy_rule" {
        for_each = var.rich ? ["eu-west-1", "eu-central-1"] : []
        content {
          target    = cross_region_copy_rule.value
          encrypted = true
          cmk_arn   = "arn:aws:kms:${cross_region_copy_rule.value}:${local.account}:key/0a1b2c3d"
          copy_tags = true
          retain_rule {
            interval      = 1
            interval_unit = "MONTHS"
          }
        }
      }

      dynamic "share_rule" {
        for_each = var.rich ? ["999999999999"] : []
        content {
          target_accounts       = [share_rule.value]
          unshare_interval      = 7
          unshare_interval_unit = "DAYS"
        }
      }

      dynamic "fast_restore_rule" {
        for_each = var.rich ? [2] : []
        content {
          availability_zones = ["eu-west-2a"]
          count              = fast_restore_rule.value
        }
      }
    }

    dynamic "schedule" {
      for_each = var.rich ? ["Weekly"] : []
      content {
        name = schedule.value

        create_rule {
          cron_expression = "cron(0 6 ? * SUN *)"
        }

        retain_rule {
          interval      = 1
          interval_unit = "YEARS"
        }
      }
    }

    dynamic "parameters" {
      for_each = var.rich ? [true] : []
      content {
        exclude_boot_volume = parameters.value
      }
    }
  }
}
