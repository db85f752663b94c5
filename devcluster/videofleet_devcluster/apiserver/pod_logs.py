"""`kubectl logs`: finds the node of a pod and passes the kubelet's answer through, following if asked."""

from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web

from videofleet_devcluster.apiserver.errors import ApiError, bad_request, not_found
from videofleet_devcluster.apiserver.objects import Key, Object
from videofleet_devcluster.apiserver.requests import number
from videofleet_devcluster.apiserver.store import Store

_PASSED_ON: Final = ("follow", "limitBytes", "previous", "sinceSeconds", "sinceTime", "tailLines", "timestamps")
_NUMBERS: Final = ("limitBytes", "sinceSeconds", "tailLines")


async def stream_logs(
    request: web.Request, client: aiohttp.ClientSession, store: Store, key: Key
) -> web.StreamResponse:
    """Answers GET pods/NAME/log. Raises: ApiError 400, 404, 500 before the first byte."""
    pod = store.get(("", "pods"), key)
    if pod is None:
        raise not_found("pods", "", key[1])
    url = _kubelet_url(store, pod) + f"/containerLogs/{key[0]}/{key[1]}/{_container(pod, request.query)}"
    for name in _NUMBERS:
        number(request.query, name)
    query = {name: request.query[name] for name in _PASSED_ON if name in request.query}
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with client.get(url, params=query, timeout=timeout, ssl=False) as logs:  # kubelets sign for themselves
            if logs.status != 200:
                text = (await logs.text())[:500]
                reason = "NotFound" if logs.status == 404 else "InternalError"
                raise ApiError(logs.status, reason, text or f"the node answered {logs.status}")
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            async for chunk in logs.content.iter_any():
                await response.write(chunk)
    except aiohttp.ClientConnectorError as error:
        raise ApiError(500, "InternalError", f'Get "{url}": the node does not answer: {error.os_error}') from None
    return response


def _kubelet_url(store: Store, pod: Object) -> str:
    name = pod["spec"].get("nodeName")
    if not name:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    node = store.get(("", "nodes"), ("", name))
    if node is None:
        raise not_found("nodes", "", name)
    status = node.get("status", {})
    addresses = {address["type"]: address["address"] for address in status.get("addresses", ())}
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")
    if not addresses or not port:
        raise ApiError(500, "InternalError", f"node {name} has not registered a log server in its status")
    return f"https://{addresses.get('InternalIP') or next(iter(addresses.values()))}:{port}"


def _container(pod: Object, query: Mapping[str, str]) -> str:
    init = [container["name"] for container in pod["spec"].get("initContainers", ())]
    names = [container["name"] for container in pod["spec"]["containers"]]
    asked, name = query.get("container", ""), pod["metadata"]["name"]
    if asked and asked not in names + init:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    if not asked and len(names) > 1:
        listed = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    return asked or names[0]
