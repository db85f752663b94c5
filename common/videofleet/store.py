"""The object store: videos, thumbnails, checkpoints. S3, GCS, Azure or a folder, by obstore.

A store is named in the manifest and configured by mounted files: `url` (s3://bucket/prefix, file:///path, …) and,
beside it, one file per obstore option (aws_access_key_id, aws_endpoint, …). Nothing here reads the environment. One
option is ours: `redirect`, `true` or the endpoint under which clients reach the bucket, allows presigned addresses.
Invariant: an object appears whole or not at all.
"""

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn, Self, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

_CLIENT_OPTIONS: Final = ("allow_http",)  # of the HTTP client, not of the bucket: a MinIO inside the cluster


def end_process(code: int) -> NoReturn:
    """Ends a program that has used a store, the interpreter's own end left out.

    obstore's threads let go of Python's objects a moment after the answer, and one that waits for the interpreter's
    lock while that ends aborts the process: 12 of 100 programs whose last act was an upload ended by SIGABRT.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - what else makes up an orderly end
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class StoreError(Exception):
    """The store refused or did not answer; the message names the store, never the credentials."""


class ObjectNotFound(StoreError):
    """No object under that key."""


@dataclass(frozen=True)
class StoredObject:
    """What is known of an object without reading it."""

    size_bytes: int
    etag: str | None


class ObjectStore:
    """One named store. Keys are relative, with `/` between parts."""

    def __init__(self, name: str, store: Any, signer: Any = None) -> None:
        self.name = name
        self._store = store
        self._signer = signer  # of presigned addresses; None: this store hands out none

    @classmethod
    def from_url(cls, name: str, url: str, options: dict[str, str] | None = None) -> Self:
        """Opens a store; a `file://` folder is made when missing. Raises: StoreError."""
        try:
            if url.startswith("file://"):
                Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
                return cls(name, LocalStore.from_url(url, automatic_cleanup=True))  # no empty folders stay
            config = dict(options or {})
            client = {option: config.pop(option) == "true" for option in _CLIENT_OPTIONS if option in config}
            redirect = config.pop("redirect", "false")
            store = from_url(url, config=cast(Any, config), client_options=cast(Any, client))
            if redirect == "false":
                return cls(name, store)
            seen = config if redirect == "true" else config | {"aws_endpoint": redirect}
            return cls(name, store, from_url(url, config=cast(Any, seen), client_options=cast(Any, client)))
        except (BaseError, ValueError, OSError) as error:
            raise StoreError(f"store {name}: {type(error).__name__}; check its url and options") from error

    @classmethod
    def from_folder(cls, name: str, folder: Path) -> Self:
        """Opens a store from the files of a mounted Secret. Raises: StoreError."""
        try:
            options = {
                file.name: file.read_text().strip()
                for file in folder.iterdir()
                if file.is_file() and not file.name.startswith(".")
            }
            url = options.pop("url")
        except (OSError, KeyError) as error:
            raise StoreError(f"store {name}: its Secret needs a key `url`, e.g. s3://bucket/prefix") from error
        return cls.from_url(name, url, options)

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """Uploads a file, in parts when it is large; called off, nothing of it comes to lie there later.

        Raises: StoreError.
        """
        attributes = {} if self.is_folder else {"Content-Type": content_type}
        putting = asyncio.ensure_future(obstore.put_async(self._store, key, path, attributes=attributes))
        try:
            await (asyncio.shield(putting) if self.is_folder else putting)  # there a thread writes, and would go on
        except (BaseError, OSError) as error:
            raise StoreError(f"store {self.name}: writing failed: {type(error).__name__}") from error
        finally:
            await _over(putting)

    async def head(self, key: str) -> StoredObject:
        """Size and etag. Raises: ObjectNotFound, StoreError."""
        try:
            meta = await obstore.head_async(self._store, key)
        except FileNotFoundError as error:
            raise ObjectNotFound(f"store {self.name} has no such object") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"store {self.name}: reading failed: {type(error).__name__}") from error
        return StoredObject(size_bytes=meta["size"], etag=meta.get("e_tag"))

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) in chunks. Raises: ObjectNotFound, StoreError."""
        size_bytes = (await self.head(key)).size_bytes if end is None else end
        chunk_bytes = 1 << 20
        for offset in range(start, size_bytes, chunk_bytes):
            try:
                data = await obstore.get_range_async(
                    self._store, key, start=offset, end=min(offset + chunk_bytes, size_bytes)
                )
            except FileNotFoundError as error:
                raise ObjectNotFound(f"store {self.name} has no such object") from error
            except (BaseError, OSError) as error:
                raise StoreError(f"store {self.name}: reading failed: {type(error).__name__}") from error
            yield bytes(data)

    async def presigned(self, key: str, life_s: int) -> str | None:
        """An address that opens the object to GET for some seconds; None when the store's option `redirect` is off.

        Raises: StoreError.
        """
        if self._signer is None:
            return None
        try:
            return await obstore.sign_async(self._signer, "GET", key, timedelta(seconds=life_s))
        except (BaseError, OSError, ValueError) as error:
            raise StoreError(f"store {self.name}: signing failed: {type(error).__name__}") from error

    async def copy(self, key: str, to: str) -> None:
        """Copies an object inside the store. Raises: ObjectNotFound, StoreError."""
        try:
            await obstore.copy_async(self._store, key, to)
        except FileNotFoundError as error:
            raise ObjectNotFound(f"store {self.name} has no such object") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"store {self.name}: copying failed: {type(error).__name__}") from error

    async def remove(self, key: str) -> None:
        """Deletes an object; one that is not there is fine. Raises: StoreError."""
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StoreError(f"store {self.name}: deleting failed: {type(error).__name__}") from error

    async def get_file(self, key: str, path: Path) -> None:
        """Downloads an object. Raises: ObjectNotFound, StoreError."""
        with path.open("wb") as file:
            async for chunk in self.read(key):
                file.write(chunk)

    async def remove_folder(self, folder: str) -> None:
        """Deletes every object under `folder/`; none is fine. Raises: StoreError."""
        try:
            keys = [meta["path"] async for page in obstore.list(self._store, prefix=folder) for meta in page]
            if keys:
                await obstore.delete_async(self._store, keys)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StoreError(f"store {self.name}: deleting failed: {type(error).__name__}") from error

    async def pages(self, folder: str) -> AsyncIterator[list[tuple[str, datetime]]]:
        """Every object under `folder/`, all when it is "": key and time of writing. Raises: StoreError."""
        try:
            async for page in obstore.list(self._store, prefix=folder or None, chunk_size=1000):
                yield [(meta["path"], meta["last_modified"]) for meta in page]
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StoreError(f"store {self.name}: listing failed: {type(error).__name__}") from error

    @property
    def is_folder(self) -> bool:
        """Whether the store is a local folder, which keeps no content type."""
        return type(self._store).__name__ == "LocalStore"


async def _over(work: asyncio.Future[Any]) -> None:
    """Waits for its end, however often somebody calls that off."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work})
    if not work.cancelled():
        work.exception()  # heard
