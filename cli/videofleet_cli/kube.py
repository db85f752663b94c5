"""Kubernetes as the commands need it: a client from a kubeconfig, and its errors as CommandErrors."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException, NotFoundException
from kubernetes.aio.config.config_exception import ConfigException

from videofleet_cli.exits import CommandError, Exit

GROUP: Final = "videofleet.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "videogenerators"
_REPLY_S: Final = 15

Object = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A client and the namespace of the kubeconfig's context."""

    api: client.ApiClient
    namespace: str

    async def video_generators(self, namespace: str | None) -> list[Object]:
        """The fleets of a namespace, or of all. Raises: CommandError."""
        custom = client.CustomObjectsApi(self.api)
        with translated("list VideoGenerators"):
            try:
                found: Any = await (
                    custom.list_cluster_custom_object(GROUP, VERSION, PLURAL, _request_timeout=_REPLY_S)
                    if namespace is None
                    else custom.list_namespaced_custom_object(
                        GROUP, VERSION, namespace, PLURAL, _request_timeout=_REPLY_S
                    )
                )
            except NotFoundException as error:
                message = "this cluster does not know VideoGenerators; install the chart: helm install videofleet …"
                raise CommandError(message, Exit.REFUSED) from error
            return list(found["items"])


@asynccontextmanager
async def connected(kubeconfig: Path | None) -> AsyncIterator[Cluster]:
    """A client for the kubeconfig, or for what kubectl would use. Raises: CommandError."""
    path = (kubeconfig or Path("~/.kube/config")).expanduser()
    if not path.is_file():
        raise CommandError(f"there is no kubeconfig at {path}; give --kubeconfig or KUBECONFIG", Exit.REFUSED)
    settings = client.Configuration()
    try:
        await config.load_kube_config(str(path), client_configuration=settings)  # type: ignore[no-untyped-call]  # theirs
        _, active = config.list_kube_config_contexts(str(path))  # type: ignore[no-untyped-call]  # theirs
    except (ConfigException, OSError, ValueError) as error:
        raise CommandError(f"kubeconfig {path}: {error}", Exit.REFUSED) from error
    async with client.ApiClient(settings) as api:
        yield Cluster(api, active["context"].get("namespace", "default"))


@contextmanager
def translated(task: str) -> Iterator[None]:
    """Turns what the client raises into a CommandError that says what to do."""
    try:
        yield
    except ApiException as error:
        raise CommandError(f"cannot {task}: {error.status} {error.reason}", _exit_code(error.status)) from error
    except (aiohttp.ClientError, OSError) as error:
        message = f"cannot {task}: the cluster does not answer ({type(error).__name__}); check --kubeconfig"
        raise CommandError(message, Exit.UNREACHABLE) from error


def _exit_code(status: int) -> Exit:
    if status in (401, 403):
        return Exit.UNAUTHORIZED
    return Exit.REFUSED if 400 <= status < 500 else Exit.UNREACHABLE
