"""`POST /v1/videos/{id}/feedback`: what its owner thinks of a video. Saying it again replaces it."""

from aiohttp import web

from videofleet.feedback import RATINGS, Label
from videofleet.jobs import JobState
from videofleet_gateway.body import read_fields
from videofleet_gateway.directory import answered_in_time
from videofleet_gateway.problems import Conflict, Fault, Unprocessable
from videofleet_gateway.routes.videos import own_job
from videofleet_gateway.services import SERVICES


async def create(request: web.Request) -> web.Response:
    """POST `{"rating": 1..5, "label": …}`: counted for the revision that made the video."""
    rating, label = _opinion(await read_fields(request))
    async with answered_in_time():
        job = await own_job(request)
        if job.state is not JobState.SUCCEEDED:
            raise Conflict("only a completed video can be rated", code="video_not_completed")
        await request.app[SERVICES].queue.opinions.rate(job.id, rating, label)
    return web.json_response({"id": job.id, "object": "video.feedback", "rating": rating, "label": label})


def _opinion(fields: dict[str, object]) -> tuple[int, Label | None]:
    """Raises: Unprocessable."""
    faults = [
        Fault(name[:64], "unknown field; known are rating, label") for name in fields if name not in ("rating", "label")
    ]
    rating, label = str(fields.get("rating")), fields.get("label")
    if rating not in map(str, RATINGS):
        faults.append(Fault("rating", "is required: a whole number from 1 (useless) to 5 (just right)"))
    if label is not None and label not in list(Label):
        faults.append(Fault("label", f"must be one of {', '.join(Label)}; or leave it out"))
    if faults:
        raise Unprocessable.from_faults(faults[:20])
    return int(rating), None if label is None else Label(str(label))
