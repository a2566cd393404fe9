# What converge makes with its default settings, said in Terraform.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "endpoint" {
  type = string
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
        Action = [
          "ec2:CreateSnapshot",
          "ec2:CreateSnapshots",
          "ec2:DeleteSnapshot",
          "ec2:DescribeInstances",
          "ec2:DescribeSnapshots",
          "ec2:DescribeVolumes",
        ]
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
        interval      = 24
        interval_unit = "HOURS"
        times         = ["06:00"]
      }

      retain_rule {
        count = 14
      }
    }
  }
}
