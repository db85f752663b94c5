"""As much of Kubernetes as kubectl, Helm, kopf and VideoFleet touch, on one machine, without root or
containers.
"""
