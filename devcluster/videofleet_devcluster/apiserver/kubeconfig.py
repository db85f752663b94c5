"""The kubeconfig that leads a client to this server: CA and token embedded, namespace default."""

import base64

from videofleet_devcluster.apiserver.objects import Object


def kubeconfig(url: str, ca_pem: bytes, token: str, namespace: str = "default") -> Object:
    """A v1 Config with one context named `videofleet-dev`."""
    name = "videofleet-dev"
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca_pem).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
