"""The Kubernetes API as this operator uses it: a client and the paths of resources. Only here is kubernetes imported."""
