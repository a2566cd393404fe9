"""What is deployed: the SAM template as CloudFormation gets it, and a release's files."""
