"""No tenant ever reads another's job, video, event, batch or count: three tenants at random over a real gateway.

A stranger's id is answered word for word like one that never was, whatever is done with it.
"""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

TENANTS = ("loner190", "loner191", "loner192")
VIDEO_ROUTES = [
    ("GET", ""),
    ("GET", "/content"),
    ("GET", "/content?variant=thumbnail"),
    ("GET", "/events"),
    ("POST", "/replay"),
    ("DELETE", ""),
]
BATCH_ROUTES = [("GET", ""), ("GET", "/results"), ("POST", "/cancel")]
NO_VIDEO = "video_" + "0" * 52
NO_BATCH = "batch_" + "0" * 32


@dataclass
class Owned:
    """What a tenant has, as the test knows it."""

    videos: set[str] = field(default_factory=set)
    queued: int = 0
    batches: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)


class Client:
    """One kept connection; every reply is read whole."""

    def __init__(self, gateway: Any) -> None:
        self.gateway = gateway
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)

    def ask(
        self, tenant: str, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        authorization = {"Authorization": f"Bearer {self.gateway.keys[tenant]}"}
        self.connection.request(method, path, body, authorization | headers)
        reply = self.connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if text else {}


def without_request(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "instance"}


INDEX = st.integers(0, 999)  # drawn whatever there is to pick from: ids change from run to run


def picked(ids: set[str], index: int) -> str:
    return sorted(ids)[index % len(ids)]


class Tenants(RuleBasedStateMachine):
    """The rules; a subclass names the gateway and what its tenants have, which stays from one example to the next."""

    client: Client
    owned: dict[str, Owned]

    @rule(tenant=st.sampled_from(TENANTS), key=st.sampled_from([None, "a", "b"]))
    def submit(self, tenant: str, key: str | None) -> None:
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        status, video = self.client.ask(tenant, "POST", "/v1/videos", '{"prompt": "a fox runs"}', **headers)
        mine = self.owned[tenant]
        if key is not None and mine.keys.get(key) in mine.videos:
            assert (status, video["id"]) == (200, mine.keys[key])
            return
        assert status == 202
        assert not any(video["id"] in each.videos for each in self.owned.values())
        mine.videos.add(video["id"])
        mine.queued += 1
        if key is not None:
            mine.keys[key] = video["id"]

    @rule(tenant=st.sampled_from(TENANTS))
    def hand_in(self, tenant: str) -> None:
        text, headers = '{"body": {"prompt": "a fox runs"}}', {"Content-Type": "application/jsonl"}
        status, batch = self.client.ask(tenant, "POST", "/v1/batches", text, **headers)
        assert status == 202
        self.owned[tenant].batches.add(batch["id"])

    @rule(tenant=st.sampled_from(TENANTS), index=INDEX)
    def delete_ones_own(self, tenant: str, index: int) -> None:
        mine = self.owned[tenant]
        if not mine.videos:
            return
        named = picked(mine.videos, index)
        for deleted in (False, True):  # cancelled, then removed
            status, reply = self.client.ask(tenant, "DELETE", f"/v1/videos/{named}")
            assert (status, reply["deleted"]) == (200, deleted)
        mine.videos.discard(named)
        mine.queued -= 1

    @rule(tenant=st.sampled_from(TENANTS), route=st.sampled_from(VIDEO_ROUTES), index=INDEX)
    def meddle_with_a_video(self, tenant: str, route: tuple[str, str], index: int) -> None:
        others = self.others(tenant, "videos")
        if others:
            self.is_nothing(tenant, route, "/v1/videos/", picked(others, index), NO_VIDEO)

    @rule(tenant=st.sampled_from(TENANTS), route=st.sampled_from(BATCH_ROUTES), index=INDEX)
    def meddle_with_a_batch(self, tenant: str, route: tuple[str, str], index: int) -> None:
        others = self.others(tenant, "batches")
        if others:
            self.is_nothing(tenant, route, "/v1/batches/", picked(others, index), NO_BATCH)

    @rule(tenant=st.sampled_from(TENANTS), index=INDEX)
    def page_from_anothers_video(self, tenant: str, index: int) -> None:
        others = self.others(tenant, "videos")
        if others:
            after = picked(others, index)
            status, page = self.client.ask(tenant, "GET", f"/v1/videos?limit=100&after={after}")
            assert status == 200
            assert not {video["id"] for video in page["data"]} & others

    def others(self, tenant: str, kind: str) -> set[str]:
        return set().union(*(getattr(self.owned[other], kind) for other in TENANTS if other != tenant))

    def is_nothing(self, tenant: str, route: tuple[str, str], folder: str, named: str, never: str) -> None:
        method, rest = route
        status, reply = self.client.ask(tenant, method, f"{folder}{named}{rest}")
        known = self.client.ask(tenant, method, f"{folder}{never}{rest}")
        assert (status, without_request(reply)) == (404, without_request(known[1]))

    @invariant()
    def everybody_sees_exactly_ones_own(self) -> None:
        for tenant, mine in self.owned.items():
            others = self.others(tenant, "videos")
            _, page = self.client.ask(tenant, "GET", "/v1/videos?limit=100")
            seen = {video["id"] for video in page["data"]}
            assert not seen & others
            assert len(seen) == 100 or mine.videos <= seen
            _, batches = self.client.ask(tenant, "GET", "/v1/batches?limit=100")
            assert {batch["id"] for batch in batches["data"]} == mine.batches
            jobs = self.client.ask(tenant, "GET", "/v1/usage")[1]["jobs"]
            assert mine.queued <= jobs["queued"] <= mine.queued + len(mine.batches)
            assert self.client.ask(tenant, "GET", "/v1/dead")[1]["data"] == []


def test_no_tenant_ever_reads_anothers(gateway: Any) -> None:
    client = Client(gateway)
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    bounds = settings(max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=checks)
    here = {"client": client, "owned": {tenant: Owned() for tenant in TENANTS}}
    run_state_machine_as_test(type("TenantsHere", (Tenants,), here), settings=bounds)
    client.connection.close()
    assert "Traceback" not in gateway.log()
