"""`/v1/videos/{id}/content`: the file itself, from the object store: streamed, whole or one range, or as a redirect
to a presigned address where the store has the option `redirect`.

A stored file never changes under its key, so its ETag is made of job, attempt and variant and needs no reading.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from videofleet.jobs import Job, Verdict, VideoResult
from videofleet.store import ObjectStore, StoreError
from videofleet_gateway import views
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.moderation import VideoRefusedByHook
from videofleet_gateway.problems import Fault, NotFound, Problem, Unprocessable
from videofleet_gateway.ranges import Unsatisfiable, asked_range
from videofleet_gateway.routes.videos import own_job
from videofleet_gateway.services import CALLER, REQUEST_ID, SERVICES

log: Final = logging.getLogger(__name__)

VARIANTS: Final[dict[str, tuple[str, str, Callable[[VideoResult], str]]]] = {
    "video": ("video/mp4", "mp4", lambda result: result.video_key),
    "thumbnail": ("image/jpeg", "jpg", lambda result: result.thumbnail_key),
    "provenance": ("application/json", "json", lambda result: result.provenance_key),
    "spritesheet": ("image/jpeg", "jpg", lambda result: result.spritesheet_key),
}


_PRESIGNED_S: Final = 300  # to begin the download
_CHUNK_S: Final = 20.0  # for the store to give the next part of a file that is being sent


class RangeNotSatisfiable(Problem):
    """The range begins behind the end."""

    status, kind, default_code = 416, "invalid_request_error", "range_not_satisfiable"


async def content(request: web.Request) -> web.StreamResponse:
    """GET and HEAD of one variant: `video` (the default), `thumbnail` or `spritesheet`."""
    variant = request.query.get("variant", "video")
    if variant not in VARIANTS:
        message = f"must be one of {', '.join(VARIANTS)}; leave it out for the video"
        raise Unprocessable.from_faults([Fault("variant", message)])
    async with answered_in_time():
        job = await own_job(request)
    result = _finished(job)
    await _check(request, job, result)
    content_type, suffix, key_of = VARIANTS[variant]
    key = key_of(result)
    if not key:
        raise NotFound(f"this video has no {variant}: it was made without", code="content_missing")
    etag = f'"{job.id}-{result.attempt}-{variant}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",  # a deleted video must not be served from a cache
        "Content-Disposition": f'inline; filename="{job.id}.{suffix}"',
    }
    if etag in (tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers=headers)
    store = request.app[SERVICES].store(result.store)
    if request.method == "GET" and (address := await store.presigned(key, _PRESIGNED_S)) is not None:
        return web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
    size_bytes = (await request.app[SERVICES].head(store, key)).size_bytes
    try:
        part = asked_range(_range_header(request, etag), size_bytes)
    except Unsatisfiable:
        raise RangeNotSatisfiable(
            f"the file has {size_bytes} bytes; ask for a range inside",
            headers={"Content-Range": f"bytes */{size_bytes}"},
        ) from None
    start, end = part or (0, size_bytes)
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    if part:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    response.content_type = content_type
    response.content_length = end - start
    return await _send(request, response, store, key, start, end)


def _finished(job: Job) -> VideoResult:
    """Where the files are. Raises: NotFound, saying whether waiting helps."""
    if job.result is not None:
        return job.result
    if job.state.is_terminal:
        raise NotFound("the video failed, there is no file; its error says why", code="video_failed")
    raise NotFound(f"the video is {views.status(job)}; ask again when its status is completed", code="video_not_ready")


async def _check(request: web.Request, job: Job, result: VideoResult) -> None:
    """Nothing of a video goes out before moderation has allowed it. Raises: VideoRefusedByHook, Unavailable."""
    services = request.app[SERVICES]
    store = services.store(result.store)
    verdict = await services.moderator.check_video(request[CALLER], job, store, result.video_key)
    if verdict is not None and job.verdict is None:
        await services.queue.verdicts.keep(job.id, verdict)
    if verdict is Verdict.REFUSED:
        raise VideoRefusedByHook("the video was refused by your organisation's moderation")


def _range_header(request: web.Request, etag: str) -> str | None:
    """The Range header, unless If-Range says that the client holds parts of another file."""
    if request.headers.get("If-Range", etag) != etag:
        return None
    return request.headers.get("Range")


async def _send(
    request: web.Request, response: web.StreamResponse, store: ObjectStore, key: str, start: int, end: int
) -> web.StreamResponse:
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        async with asyncio.timeout(_CHUNK_S) as limit:
            async for chunk in store.read(key, start=start, end=end):
                limit.reschedule(None)  # how long the client may take is watched by the server
                await response.write(chunk)
                limit.reschedule(asyncio.get_running_loop().time() + _CHUNK_S)
        await response.write_eof()
    except (StoreError, TimeoutError):
        # Headers are out: only a broken connection tells the client that this is not the whole file.
        log.warning("store failed while sending", extra={"request": request[REQUEST_ID], "store": store.name})
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        log.info("client went away while receiving", extra={"request": request[REQUEST_ID]})
    return response
