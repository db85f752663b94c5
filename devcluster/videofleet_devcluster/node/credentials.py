"""A pod's identity: a token of its ServiceAccount, and a kubeconfig that carries it."""

import yaml

from videofleet_devcluster.apiserver.kubeconfig import kubeconfig
from videofleet_devcluster.client import PODS, SERVICE_ACCOUNTS, Access, ApiClient, ApiError
from videofleet_devcluster.node.volumes import MountError
from videofleet_devcluster.objects import Object, key_of

_LIFETIME_S = 24 * 3600


async def pod_token(client: ApiClient, pod: Object) -> str:
    """A token bound to the pod; empty when it wants none. Raises MountError when there is no such account."""
    namespace, name = key_of(pod)
    account = pod["spec"].get("serviceAccountName") or "default"
    try:
        if not await _wants_token(client, pod, account):
            return ""
        bound_to = {
            "apiVersion": PODS.api_version,
            "kind": PODS.kind,
            "name": name,
            "uid": pod["metadata"]["uid"],
        }
        spec = {"audiences": [], "expirationSeconds": _LIFETIME_S, "boundObjectRef": bound_to}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await client.request("POST", SERVICE_ACCOUNTS.path(namespace, account, "token"), body)
    except ApiError as error:
        raise MountError("kube-api-access", f"failed to fetch token: {error.message}") from error
    return str(answer["status"]["token"])


async def _wants_token(client: ApiClient, pod: Object, account: str) -> bool:
    wanted: bool | None = pod["spec"].get("automountServiceAccountToken")
    if wanted is not None:
        return wanted
    stored = await client.get(SERVICE_ACCOUNTS, key_of(pod)[0], account)
    return bool(stored.get("automountServiceAccountToken", True))


def pod_kubeconfig(access: Access, token: str, namespace: str) -> str:
    """A kubeconfig of the pod's own, as YAML."""
    return yaml.safe_dump(kubeconfig(access.server, (access.ca_pem or "").encode(), token, namespace), sort_keys=False)
