"""The unmodified OpenAI SDK as the conformance client: what works with Sora works here."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

# OpenAI deprecated its own service; the shape lives on, and the SDK warns at every call.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
async def sdk(gateway: Any, tenant: str) -> Any:
    async with openai.AsyncOpenAI(api_key=gateway.keys[tenant], base_url=f"{gateway.url}/v1") as client:
        yield client


async def test_a_prompt_becomes_a_downloaded_video(gateway: Any, sdk: Any, work: Any, tmp_path: Path) -> None:
    polling = asyncio.create_task(
        sdk.videos.create_and_poll(
            prompt="a lighthouse in a storm", model="studio/tiny", size="128x128", seconds="1", extra_body={"seed": 7}
        )
    )
    job_id = await _first_id(sdk)
    await work(gateway, job_id)
    video = await polling
    assert (video.id, video.status, video.progress, video.error) == (job_id, "completed", 100, None)
    assert (video.size, video.seconds, video.model, video.prompt) == (
        "128x128",
        "1.1",
        "studio/tiny",
        "a lighthouse in a storm",
    )
    assert video.seed == 7

    downloaded = await sdk.videos.download_content(job_id)
    downloaded.write_to_file(tmp_path / "video.mp4")
    stored = b"".join([chunk async for chunk in gateway.store.read(f"out/{job_id}/1/video.mp4")])
    assert (tmp_path / "video.mp4").read_bytes() == stored
    thumbnail = await sdk.videos.download_content(job_id, variant="thumbnail")
    assert thumbnail.response.headers["content-type"] == "image/jpeg"
    assert thumbnail.content.startswith(b"\xff\xd8\xff")

    assert (await sdk.videos.retrieve(job_id)).id == job_id
    assert (await sdk.videos.delete(job_id)).deleted is True
    with pytest.raises(openai.NotFoundError):
        await sdk.videos.retrieve(job_id)
    assert not list((gateway.folder / "store").rglob(f"{job_id}/1/*"))


async def test_listing_pages_through_everything_once(sdk: Any) -> None:
    made = [(await sdk.videos.create(prompt=f"number {number}")).id for number in range(5)]
    assert [video.id async for video in sdk.videos.list(limit=2)] == made[::-1]
    assert [video.id async for video in sdk.videos.list(limit=2, order="asc")] == made
    assert [video.id async for video in sdk.videos.list(after=made[1], order="asc")] == made[2:]


async def test_errors_reach_the_sdk_with_code_and_param(sdk: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await sdk.videos.create(prompt="a car", size="1000x1000")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "size")
    assert "128x128, 64x64" in caught.value.message


async def test_models_are_the_fleets(sdk: Any) -> None:
    assert [model.id async for model in sdk.models.list()] == ["studio/tiny"]


async def _first_id(sdk: Any) -> str:
    async with asyncio.timeout(60):
        while True:
            page = await sdk.videos.list()
            if page.data:
                return str(page.data[0].id)
