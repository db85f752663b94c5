"""`python -m videofleet_devcluster`: the process behind `videofleet dev up`. It is ready when state.json appears."""

import argparse
import asyncio
import gc
import logging
import os
import sys
from pathlib import Path

from videofleet import logs
from videofleet_devcluster import daemon
from videofleet_devcluster.cluster import DevCluster, Options
from videofleet_devcluster.processes import until_signalled

_log = logging.getLogger("videofleet_devcluster")


def main() -> None:
    """Runs the cluster until SIGTERM; exits with 3 when its folder is taken."""
    parser = argparse.ArgumentParser(prog="videofleet_devcluster", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for everything the cluster keeps")
    parser.add_argument("--models", type=Path, required=True, help="folder behind the claim `models`")
    parser.add_argument("--gpus", type=int, default=0, help="nvidia.com/gpu that each node offers")
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes")
    parser.add_argument("--fake-ready-after", type=float, help="run nothing: pods are Ready after so many seconds")
    given = parser.parse_args()
    logs.configure()
    options = Options(given.models, given.gpus, given.nodes, given.fake_ready_after)
    # Small dicts by the hundred thousand, which never form cycles: a full collection would hold up the watches.
    gc.set_threshold(50_000, 50, 10_000)
    try:
        with daemon.lock(given.state):
            asyncio.run(until_signalled(_serve(given.state, options)))
    except daemon.DaemonError as error:
        _log.error(str(error))
        sys.exit(3)


async def _serve(folder: Path, options: Options) -> None:
    _log.info("a development cluster for demo and tests, not Kubernetes", extra={"folder": str(folder)})
    async with DevCluster(folder, options) as cluster:
        server, redis = cluster.client.access.server, str(cluster.redis.url_file)
        daemon.State(os.getpid(), server, str(cluster.kubeconfig), redis).write(folder)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
