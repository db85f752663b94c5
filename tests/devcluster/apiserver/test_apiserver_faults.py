"""Faults on demand strike what they match, as often as they say, before or after the write."""

import time

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


async def test_an_open_watch_breaks_instead_of_its_next_event_and_resumes(api, server):
    version = (await api("GET", MAPS)).version
    path = f"{MAPS}?watch=true&resourceVersion={version}"
    rule = server.faults.add(FaultRule(FaultAction.BREAK_WATCH, resource="configmaps", name="a"))
    async with api.watch(path) as next_event:
        await api("POST", MAPS, {"metadata": {"name": "other"}})
        assert (await next_event())["object"]["metadata"]["name"] == "other"
        await api("POST", MAPS, BODY)
        with pytest.raises((aiohttp.ClientError, ValueError)):
            await next_event()
    assert rule.hits == 1
    async with api.watch(path) as next_event:
        assert [(await next_event())["object"]["metadata"]["name"] for _ in range(2)] == ["other", "a"]


async def test_a_compaction_ends_a_watch_with_an_error_event_and_refuses_its_resumption(api, server):
    version = (await api("GET", MAPS)).version
    path = f"{MAPS}?watch=true&resourceVersion={version}"
    server.faults.add(FaultRule(FaultAction.COMPACT, verb="watch", resource="configmaps"))
    for _ in range(2):
        async with api.watch(path) as next_event:
            await api("POST", MAPS, {"metadata": {"generateName": "a-"}})
            event = await next_event()
            assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_events_of_a_watch_are_delayed_one_by_one(api, server):
    path = f"{MAPS}?watch=true&resourceVersion={(await api('GET', MAPS)).version}"
    rule = server.faults.add(FaultRule(FaultAction.DELAY, verb="watch", resource="configmaps", delay_s=0.2))
    async with api.watch(path) as next_event:
        started = time.monotonic()
        await api("POST", MAPS, BODY)
        await next_event()
        assert (rule.hits, time.monotonic() - started >= 0.2) == (1, True)


async def test_rules_come_over_the_private_path_of_the_administrator(api, server, session):
    path = "/devcluster/faults"
    added = await api("POST", path, {"action": "error", "verb": "create", "status": 503})
    assert added.body["rules"][0]["hits"] == 0
    assert (await api("POST", MAPS, BODY)).status == 503
    assert (await api("GET", path)).body["rules"][0]["hits"] == 1
    refused = await api("POST", path, {"action": "explode"})
    assert (refused.status, "applied-error" in refused.body["message"]) == (400, True)
    assert (await api("DELETE", path)).body == {"rules": []}
    async with session.get(server.url + path) as answer:
        assert answer.status == 403, "nobody else may"
