"""The gateway's settings: arguments, mounted files, and BIND_ADDRESS. Nothing else is read from the environment."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from videofleet.queue import Durability
from videofleet.store import ObjectStore
from videofleet_gateway.moderation import Hook

REDIS_URL: Final = "redis://:password@host:6379/0"  # as an example


class SettingsError(Exception):
    """The gateway cannot start like this; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """Everything the gateway is told."""

    installation: str
    redis_url: str = field(repr=False)  # holds the password
    keys_file: Path
    stores: dict[str, ObjectStore]
    hook: Hook | None  # for moderation
    webhooks_file: Path | None  # None: nobody has webhooks
    oidc_file: Path | None  # None: API keys only
    durability: Durability
    port: int
    health_port: int
    bind_address: str
    drain_delay_s: float  # how long a terminating gateway still takes requests, so that balancers notice first


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings from the command line. Raises: SettingsError, StoreError; exits on wrong usage."""
    given = _parser().parse_args(arguments)
    stores = [ObjectStore.from_url(name, url) for name, url in given.store]
    stores += [ObjectStore.from_folder(name, Path(folder)) for name, folder in given.store_folder]
    by_name = {store.name: store for store in stores}
    if len(by_name) != len(stores):
        raise SettingsError("a store is named twice; give each --store and --store-folder its own name")
    return Settings(
        installation=given.installation,
        redis_url=secret_text("--redis-url-file", given.redis_url_file, REDIS_URL),
        keys_file=given.keys_file,
        stores=by_name,
        hook=_hook(given.moderation_url, given.moderation_key_file),
        webhooks_file=given.webhooks_file,
        oidc_file=given.oidc_file,
        durability=given.durability,
        port=given.port,
        health_port=given.health_port,
        bind_address=os.environ.get("BIND_ADDRESS", "0.0.0.0"),  # noqa: S104 - a pod listens on its own address
        drain_delay_s=given.drain_delay,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("videofleet-gateway", description="The HTTP API in front of VideoFleet's queue.")
    parser.add_argument("--installation", required=True, help="name of the installation, as in the operator's config")
    parser.add_argument("--redis-url-file", required=True, type=Path, help="file with a redis:// or rediss:// URL")
    parser.add_argument("--keys-file", required=True, type=Path, help="JSON file with the API keys' digests")
    parser.add_argument("--webhooks-file", type=Path, help="JSON file with the signing secrets; without it no webhooks")
    parser.add_argument("--oidc-file", type=Path, help="JSON file that lets people sign in to the page")
    parser.add_argument("--store", action="append", default=[], type=_pair, metavar="NAME=URL", help="a store by URL")
    parser.add_argument(
        "--store-folder",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=PATH",
        help="a store by its Secret",
    )
    parser.add_argument(
        "--durability",
        type=Durability,
        choices=list(Durability),
        default=Durability.AOF,
        help="when a submission counts as kept: in Redis' append-only file (default), on a replica too, or managed",
    )
    parser.add_argument("--moderation-url", metavar="URL", help="a service that judges prompts and videos")
    parser.add_argument("--moderation-key-file", type=Path, help="file with the key that it is called with")
    parser.add_argument("--port", type=int, default=8080, help="of the API and the page (default 8080)")
    parser.add_argument(
        "--health-port", type=int, default=8083, help="of /healthz, /readyz and /metrics (default 8083)"
    )
    parser.add_argument(
        "--drain-delay",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="still serving after SIGTERM (default 3)",
    )
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name, value


def _hook(url: str | None, key_file: Path | None) -> Hook | None:
    if url is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise SettingsError("--moderation-url must begin with http:// or https://")
    return Hook(url, secret_text("--moderation-key-file", key_file, "the hook's key") if key_file else None)


def secret_text(option: str, path: Path, example: str) -> str:
    """The one secret in a mounted file. Raises: SettingsError."""
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{option} {path}: {error.strerror}; mount its Secret there") from error
    if not text:
        raise SettingsError(f"{option} {path} is empty; its text is {example}")
    return text
