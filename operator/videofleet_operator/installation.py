"""What the platform team decided for this installation: `operator.yaml`, written by the chart.

Stores and Redis are named in manifests and configured here or in Secrets of the same names; no secret is in
this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from videofleet.queue import Durability


class ConfigError(Exception):
    """operator.yaml cannot be used; the message names file and key."""


@dataclass(frozen=True)
class Installation:
    """One installation: its name is part of every Redis key."""

    name: str
    namespaces: tuple[str, ...]  # watched; at least one
    worker_image: str
    redis_secret: str  # Secret in each fleet's namespace, key `url`
    stores: dict[str, str | None]  # store name → claim that holds it; None: a Secret of the store's name
    lease: tuple[str, str]  # namespace, name: whoever holds it writes
    durability: Durability = Durability.AOF  # of what workers announce
    hub_endpoint: str | None = None  # mirror of the model hub; None: the hub itself
    prometheus_url: str | None = None  # that answers `analysis.metrics[]`; None: nobody does


def read_installation(path: Path) -> Installation:
    """The installation as the file says. Raises: ConfigError."""
    try:
        document = yaml.safe_load(path.read_text())
        return Installation(
            name=_text(document["installation"]),
            namespaces=tuple(_text(name) for name in document["namespaces"]),
            worker_image=_text(document["workerImage"]),
            redis_secret=_text(document["redisSecret"]),
            durability=Durability(document.get("durability", Durability.AOF)),
            hub_endpoint=_text(document["hubEndpoint"]) if "hubEndpoint" in document else None,
            prometheus_url=_text(document["prometheusUrl"]) if "prometheusUrl" in document else None,
            stores={_text(s["name"]): s.get("persistentVolumeClaim") for s in document["stores"]},
            lease=_namespaced(document["lease"]),
        )
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path}: needs installation, namespaces[], workerImage, redisSecret, stores[].name, lease;"
            f" durability is {', '.join(Durability)}; wrong at {error}"
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(repr(value))
    return value


def _namespaced(value: Any) -> tuple[str, str]:
    namespace, name = _text(value).split("/")
    return _text(namespace), _text(name)
