"""Puts the document together, for exactly the routes and fields that this gateway has. Pure."""

from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from videofleet_gateway.openapi.fields import FIELDS
from videofleet_gateway.openapi.operations import OPERATIONS, Operation
from videofleet_gateway.openapi.schemas import SCHEMAS

_ALWAYS: Final = (401, 429, 503)  # of everything that needs a key


def document(routes: Iterable[tuple[str, str]], fields: Iterable[str]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these (method, path) routes and request fields. Raises: KeyError for unknown ones."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in routes:
        paths.setdefault(path, {})[method] = _operation(OPERATIONS[method, path])
    request = {
        "type": "object",
        "properties": {name: FIELDS[name] for name in fields},
        "required": ["prompt"],
        "additionalProperties": False,
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "VideoFleet",
            "version": version("videofleet"),
            "description": "The OpenAI Videos API over fleets of text-to-video workers, and more.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS | {"VideoRequest": request},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "vf_<id>_<secret>"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-vf-session"},
                "link": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    statuses = (*operation.errors, *(_ALWAYS if operation.needs_key else ()))
    described: dict[str, Any] = {
        "summary": operation.summary,
        "security": _security(operation),
        "responses": {str(status): _reply(status, body) for status, body in operation.replies.items()}
        | {str(status): _problem(status, operation) for status in sorted(statuses)},
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.takes_file:
        described["requestBody"] = _file_body()
    if operation.body:
        schema = {"schema": _reference(operation.body)}
        described["requestBody"] = {
            "required": operation.needs_body,
            "content": {"application/json": schema, "multipart/form-data": schema},
        }
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if not operation.needs_key:
        return []
    ways = ["key", "session", "link"] if operation.opens_by_link else ["key", "session"]
    return [{way: []} for way in ways]


def _file_body() -> dict[str, Any]:
    part = {"type": "string", "contentMediaType": "application/jsonl"}
    form = {"type": "object", "properties": {"file": part}, "required": ["file"]}
    return {
        "required": True,
        "content": {"application/jsonl": {"schema": {"type": "string"}}, "multipart/form-data": {"schema": form}},
    }


def _reply(status: int, body: str) -> dict[str, Any]:
    description = HTTPStatus(status).phrase
    if not body:
        return {"description": description}
    if "/" in body:
        return {"description": description, "content": {body: {}}}
    return {"description": description, "content": {"application/json": {"schema": _reference(body)}}}


def _problem(status: int, operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"application/problem+json": {"schema": _reference("Problem")}}
    if operation.answers_browsers:
        content["text/html"] = {}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
