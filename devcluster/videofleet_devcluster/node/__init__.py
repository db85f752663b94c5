"""A node that runs pods as local processes: its part of the Kubernetes contract, without containers."""
