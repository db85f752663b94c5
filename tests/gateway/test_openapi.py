"""The OpenAPI document against the gateway itself: every field, every route, and real replies of every kind."""

import json
from typing import Any

import aiohttp
import jsonschema_rs
import pytest

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.queue import JobQueue
from videofleet_gateway.openapi.fields import FIELDS
from videofleet_gateway.validation import ACCEPTED, asked_for

SAMPLES: dict[str, object] = {
    "prompt": "a fox runs over the hill",
    "model": "studio/tiny",
    "tier": "small",
    "size": "128x128",
    "seconds": "1.1",
    "seed": 7,
    "negative_prompt": "blur",
    "guidance_scale": 4.5,
    "guidance_scale_2": "3",
    "priority": "batch",
    "deadline": 600,
    "webhook": {"url": "https://hooks.example.com/x"},
    "cache": False,
    "allow_fallback": False,
}


@pytest.fixture
async def document(gateway: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession(gateway.url) as http, http.get("/openapi.json") as response:
        assert response.status == 200
        return dict(await response.json())


def validator(document: dict[str, Any], schema: str) -> jsonschema_rs.Draft202012Validator:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def test_every_accepted_field_is_described_and_every_sample_is_accepted() -> None:
    assert set(ACCEPTED) <= set(FIELDS)
    for name in ACCEPTED:
        jsonschema_rs.validate(FIELDS[name], SAMPLES[name])
        assert asked_for({"prompt": "a fox runs", name: SAMPLES[name]})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": ""},
        {"prompt": "x", "seed": -1},
        {"prompt": "x", "guidance_scale": 21},
        {"prompt": "x", "size": "1"},
        {"prompt": "x", "tier": "A B"},
        {"prompt": "x", "webhook": "y"},
        {"prompt": "x" * 4001},
        {"prompt": 5},
    ],
)
async def test_what_the_document_forbids_is_refused(
    http: aiohttp.ClientSession, document: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert not validator(document, "VideoRequest").is_valid(fields)
    async with http.post("/v1/videos", json=fields) as response:
        problem = await response.json()
        assert response.status == 422
    validator(document, "Problem").validate(problem)


def test_the_document_is_valid_by_the_rules_of_its_schemas(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for name in document["components"]["schemas"]:
        validator(document, name)
    references = {part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])


async def test_real_replies_are_as_described(
    gateway: Any, http: aiohttp.ClientSession, document: dict[str, Any], work: Any
) -> None:
    def check(path: str, method: str, status: int, reply: object) -> None:
        assert str(status) in document["paths"][path][method]["responses"]
        content = document["paths"][path][method]["responses"][str(status)]["content"]
        (schema,) = (kind["schema"]["$ref"].rpartition("/")[2] for kind in content.values())
        validator(document, schema).validate(reply)

    async with http.post("/v1/videos", json={"prompt": "a car"}) as response:
        created = await response.json()
        check("/v1/videos", "post", response.status, created)
    one = f"/v1/videos/{created['id']}"
    async with http.get(one + "/events") as response:
        lines = [(await response.content.readline()).decode() for _ in range(5)]
        event = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
        validator(document, "QueuedEvent").validate(event)
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        fleet = (await queue.get(created["id"])).fleet_uid
        await queue.put_beacon(fleet, WorkerBeacon(worker="w", revision="r1", state=WorkerState.READY))
    await work(gateway, created["id"])
    for path, url in (
        ("/v1/videos", "/v1/videos"),
        ("/v1/videos/{id}", one),
        ("/v1/models", "/v1/models"),
        ("/v1/usage", "/v1/usage"),
        ("/v1/videos/{id}", "/v1/videos/video_x"),
        ("/v1/videos/{id}/content", one + "/content?variant=x"),
    ):
        async with http.get(url) as response:
            check(path, "get", response.status, await response.json())
    async with http.delete(one) as response:
        check("/v1/videos/{id}", "delete", response.status, await response.json())
    async with aiohttp.ClientSession(gateway.url) as stranger, stranger.get("/v1/models") as response:
        check("/v1/models", "get", response.status, await response.json())
