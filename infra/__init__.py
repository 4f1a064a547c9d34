"""The CDK constructs that deploy the index builder, one per module."""
