"""`s3://BUCKET/PATH` and `file:///PATH`: a folder of weights in an object store or on a mounted volume, by obstore.

A folder's own `videofleet.sha256.json`, where it has one, says what its files must be. Credentials come from a mounted
Secret's files, one an option, or from the pod's own identity.
"""

from pathlib import Path
from typing import Any, Final, Self, cast

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from videofleet.beacons import WorkerFault
from videofleet_worker import manifest
from videofleet_worker.faults import Fault
from videofleet_worker.weights.source import RemoteFile, SourceAway, not_found

CLIENT_OPTIONS: Final = ("allow_http",)  # of the HTTP client, not of the bucket


class BucketSource:
    """One folder of one store."""

    def __init__(self, url: str, store: Any) -> None:
        self._url = url
        self._store = store

    @classmethod
    def from_url(cls, url: str, secret: Path | None) -> Self:
        """Opens the folder. Raises: Fault."""
        options = {
            file.name: file.read_text().strip()
            for file in (secret.iterdir() if secret else ())
            if file.is_file() and not file.name.startswith(".") and file.name not in ("token", "url")
        }
        client = {option: options.pop(option) == "true" for option in CLIENT_OPTIONS if option in options}
        try:
            if url.startswith("file://"):
                return cls(url, from_url(url))
            return cls(url, from_url(url, config=cast(Any, options), client_options=cast(Any, client)))
        except (BaseError, ValueError, OSError) as error:
            raise not_found(f"{url} cannot be opened: {type(error).__name__}") from error

    async def files(self) -> list[RemoteFile]:
        """Every file below the folder. Raises: Fault, SourceAway."""
        try:
            found = [meta async for page in obstore.list(self._store) for meta in page]
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise not_found(f"{self._url} may not be read with these credentials") from error
        except FileNotFoundError as error:
            raise not_found(f"{self._url} is not there") from error
        except (BaseError, OSError) as error:
            raise self._away(error) from error
        digests = await self._digests() if any(meta["path"] == manifest.NAME for meta in found) else {}
        return [
            RemoteFile(meta["path"], meta["size"], str(meta.get("e_tag")), sha256=digests.get(meta["path"]))
            for meta in found
            if meta["path"] != manifest.NAME
        ]

    async def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes [start, end). Raises: Fault, SourceAway."""
        try:
            return bytes(await obstore.get_range_async(self._store, name, start=start, end=end))
        except FileNotFoundError as error:
            raise not_found(f"{self._url} has no {name} any more") from error
        except (BaseError, OSError) as error:
            raise self._away(error) from error

    async def close(self) -> None:
        """Nothing is open."""

    async def _digests(self) -> dict[str, str]:
        try:
            content = await obstore.get_async(self._store, manifest.NAME)
            return manifest.parsed(bytes(await content.bytes_async()))
        except (BaseError, OSError) as error:
            raise self._away(error) from error
        except manifest.Unreadable as error:
            raise Fault(
                WorkerFault.MODEL_CORRUPT, f"{self._url}: {manifest.NAME} cannot be read; write it again"
            ) from error

    def _away(self, error: Exception) -> SourceAway:
        return SourceAway(f"{self._url}: reading failed: {type(error).__name__}")
