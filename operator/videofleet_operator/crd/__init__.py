"""The VideoGenerator: fields stand once, in `spec` and `status`; schema, rules and docs derive from them."""
