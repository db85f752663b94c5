"""The chart, installed by the real Helm engine. The release is kept in this process's memory and nowhere else.

Helm's own waiting is not used: the demo shows what it waits for.
"""

from pathlib import Path
from typing import Any, Final

import helm_python as helm

from videofleet_cli.exits import CommandError, Exit

RELEASE: Final = "videofleet"
NAMESPACE: Final = "default"
OPERATOR: Final = f"{RELEASE}-operator"
GATEWAY: Final = f"{RELEASE}-gateway"
_INSTALL_S: Final = 30


def install(chart: Path, kubeconfig: Path, redis_url: str, key: dict[str, str]) -> None:
    """Installs the release; blocks. Raises: CommandError in Helm's words."""
    values: dict[str, Any] = {
        "redis": {"url": redis_url},
        "operator": {"replicas": 1},
        "gateway": {"replicas": 1, "keys": [key]},
        "stores": [{"name": "videos", "persistentVolumeClaim": {"size": "1Gi"}}],
    }
    try:
        with (
            helm.Chart.load(chart) as loaded,
            helm.Config(kubeconfig_path=kubeconfig, namespace=NAMESPACE, storage_driver="memory") as config,
        ):
            config.install(loaded, RELEASE, values, namespace=NAMESPACE, timeout=_INSTALL_S)
    except helm.HelmError as error:
        raise CommandError(f"helm install: {error}", Exit.FAILED) from error
