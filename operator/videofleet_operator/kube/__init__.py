"""The Kubernetes API as this operator uses it: client and paths; only here is kubernetes imported."""
