"""`hf://ORG/NAME` at a commit: the Hugging Face Hub or a mirror of it (HF_ENDPOINT), files by ranged GETs.

The hub's client lists, authenticates and makes addresses; it starts a killed download anew, so the bytes are read here.
A commit is immutable and its files carry digests. HF_HUB_OFFLINE=1 forbids every call.
"""

import asyncio
from pathlib import Path
from typing import Final, Self

import aiohttp
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault
from videofleet_worker.weights.source import RemoteFile, SourceAway, not_found

SILENCE_S: Final = 30.0  # of a connection, before it is given up


class HubSource:
    """One repository at one commit."""

    def __init__(self, repository: str, revision: str, token: str | None) -> None:
        self._repository = repository
        self._revision = revision
        self._token = token or False  # never one that lies around
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
        self._http = aiohttp.ClientSession(timeout=timeout, trust_env=True)

    @classmethod
    def from_url(cls, url: str, revision: str, secret: Path | None) -> Self:
        """`hf://ORG/NAME`; a secret's file `token` is sent along."""
        token = secret / "token" if secret else None
        return cls(url.removeprefix("hf://"), revision, token.read_text().strip() if token and token.exists() else None)

    async def files(self) -> list[RemoteFile]:
        """Every file of the commit. Raises: Fault, SourceAway."""
        return await asyncio.to_thread(self._list)

    async def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes [start, end). Raises: Fault, SourceAway."""
        url = hf_hub_url(self._repository, name, revision=self._revision)
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"  # which a redirect to another host leaves behind
        try:
            async with self._http.get(url, headers=headers) as reply:
                if reply.status in (401, 403, 404):
                    raise not_found(f"the hub answers {reply.status} for {self._repository}/{name}")
                if reply.status not in (200, 206):
                    raise SourceAway(f"the hub answers {reply.status}")
                data = await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceAway(f"reading from the hub: {type(error).__name__}") from error
        if reply.status == 200:  # a mirror that knows no ranges
            data = data[start:end]
        if len(data) != end - start:
            raise SourceAway(f"the hub sent {len(data)} of {end - start} bytes")
        return data

    async def close(self) -> None:
        """Lets connections go."""
        await self._http.close()

    def _list(self) -> list[RemoteFile]:
        try:
            found = HfApi().model_info(
                self._repository, revision=self._revision, files_metadata=True, token=self._token
            )
        except OfflineModeIsEnabled as error:
            raise Fault(
                WorkerFault.STORE_UNREACHABLE,
                f"HF_HUB_OFFLINE forbids to fetch {self._repository}, and the volume does not hold commit "
                f"{self._revision[:12]}; fill the cache from where the hub can be reached",
            ) from error
        except GatedRepoError as error:
            what = f"{self._repository} is gated: accept its licence and give a token that may read it"
            raise not_found(what) from error
        except RevisionNotFoundError as error:
            raise not_found(f"{self._repository} has no commit {self._revision}") from error
        except (RepositoryNotFoundError, HFValidationError) as error:
            raise not_found(f"the hub knows no {self._repository}, or its token may not read it") from error
        except (HfHubHTTPError, OSError, RuntimeError) as error:
            raise SourceAway(f"the hub does not answer: {type(error).__name__}") from error
        except Exception as error:
            if type(error).__module__.startswith("httpx"):  # the client's own library, which it does not wrap
                raise SourceAway(f"the hub does not answer: {type(error).__name__}") from error
            raise
        return [
            RemoteFile(
                name=file.rfilename,
                size_bytes=file.size or 0,
                version=file.blob_id or "",
                sha256=file.lfs.sha256 if file.lfs else None,
                git_sha1=None if file.lfs else file.blob_id,
            )
            for file in found.siblings or []
        ]
