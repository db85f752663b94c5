"""Faults on demand strike what they match, as often as they say, before or after the write."""

import aiohttp
import pytest

from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule

MAPS = "/api/v1/namespaces/default/configmaps"
BODY = {"metadata": {"name": "a"}}


async def test_an_error_before_anything_is_applied(api, server):
    rule = server.faults.add(FaultRule(FaultAction.ERROR, verb="create", resource="configmaps", status=503))
    answer = await api("POST", MAPS, BODY)
    assert (answer.status, answer.body["reason"]) == (503, "ServiceUnavailable")
    assert (await api("GET", f"{MAPS}/a")).status == 404
    assert (await api("POST", MAPS, BODY)).status == 201
    assert rule.hits == 1


async def test_applied_and_then_an_error(api, server):
    server.faults.add(FaultRule(FaultAction.APPLIED_ERROR, verb="create", name="", resource="configmaps"))
    assert (await api("POST", MAPS, BODY)).status == 500
    assert (await api("GET", f"{MAPS}/a")).status == 200


async def test_dropped_connections(api, server):
    server.faults.add(FaultRule(FaultAction.APPLIED_DROP, verb="create"))
    with pytest.raises(aiohttp.ClientError):
        await api("POST", MAPS, BODY)
    assert (await api("GET", f"{MAPS}/a")).status == 200
    server.faults.add(FaultRule(FaultAction.DROP, verb="delete", count=None))
    with pytest.raises(aiohttp.ClientError):
        await api("DELETE", f"{MAPS}/a")
    assert (await api("GET", f"{MAPS}/a")).status == 200, "and the client's own second try did not help"


async def test_throttling_says_when_to_come_back(api, server):
    server.faults.add(FaultRule(FaultAction.THROTTLE, retry_after_s=3))
    answer = await api("GET", MAPS)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_the_third_matching_request(api, server):
    server.faults.add(FaultRule(FaultAction.ERROR, verb="get", skip=2))
    await api("POST", MAPS, BODY)
    assert [(await api("GET", f"{MAPS}/a")).status for _ in range(4)] == [200, 200, 500, 200]
