"""Media types: which body a request may have and which answer it accepts."""

import json
from typing import Any, Final

import yaml
from aiohttp import web

from videofleet_devcluster.apiserver.errors import bad_request, not_acceptable, unsupported_media_type
from videofleet_devcluster.apiserver.protobuf import MEDIA_TYPE, decode_protobuf

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
PATCHES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_BODIES: Final = ("application/json", "application/yaml")
_JSON: Final = ("application/json", "application/*", "*/*")


class _JsonLikeLoader(yaml.CSafeLoader):
    """YAML without timestamps: they stay text, as in JSON."""


_JsonLikeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


async def read_body(request: web.Request) -> Any:
    """The decoded body; {} when there is none. Raises: ApiError 400, 415."""
    accepted = PATCHES if request.method == "PATCH" else _BODIES
    raw = await request.read()
    if not raw:
        return {}
    if request.content_type == MEDIA_TYPE and (decoded := decode_protobuf(raw)) is not None:
        return decoded
    if request.headers.get("Content-Type") and request.content_type not in accepted:
        raise unsupported_media_type(", ".join(accepted))
    try:
        return json.loads(raw)
    except ValueError as error:
        if not request.content_type.endswith("yaml"):
            raise bad_request(f"the object provided is unrecognized (must be of type JSON): {error}") from None
    try:
        return yaml.load(raw, _JsonLikeLoader)  # noqa: S506 - a safe loader, with less than usual
    except yaml.YAMLError as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None


def wants_table(accept: str) -> bool:
    """Whether the client prefers a Table to the objects. Raises: ApiError 406 when neither will do."""
    types = [part.strip() for part in accept.split(",") if part.strip()] or ["*/*"]
    for media_type in types:
        name, *parameters = (part.strip() for part in media_type.split(";"))
        if name not in _JSON:
            continue
        chosen = dict(part.partition("=")[::2] for part in parameters)
        if chosen.get("as") == "Table" and chosen.get("v") == "v1":
            return True
        if "as" not in chosen:
            return False
    raise not_acceptable()
