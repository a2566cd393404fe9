"""The SAM template: transformed, created in the emulated CloudFormation, and looked at."""
