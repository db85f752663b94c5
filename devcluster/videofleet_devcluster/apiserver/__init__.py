"""An in-memory Kubernetes API server: what kubectl, Helm, kopf and VideoFleet's programs talk to on one
machine.
"""
