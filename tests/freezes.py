"""The suite on a machine that stands still now and then: `python tests/freezes.py [pytest's arguments]`.

Again and again a process, picked at random from all that the suite has started, is stopped for up to 1.5 s, as a busy
machine does. A test that then fails takes for granted what it should wait for. Exits with pytest's status.
"""

import random
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

import psutil

BETWEEN_S: Final = 0.5  # on average
LONGEST_S: Final = 1.5


def freeze(process: psutil.Process, for_s: float) -> None:
    """Stops a process, and lets it go on whatever comes. One that a test has stopped is left alone."""
    with suppress(psutil.NoSuchProcess):
        if process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            return
        process.suspend()
        try:
            time.sleep(for_s)
        finally:
            process.resume()


def main() -> int:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    suite = subprocess.Popen([sys.executable, "-m", "pytest", *sys.argv[1:]])
    freezes = 0
    try:
        while suite.poll() is None:
            time.sleep(chance.expovariate(1 / BETWEEN_S))
            with suppress(psutil.NoSuchProcess):
                if started := psutil.Process(suite.pid).children(recursive=True):
                    freeze(chance.choice(started), chance.uniform(0.05, LONGEST_S))
                    freezes += 1
    except KeyboardInterrupt:
        suite.wait()  # it was told too
    sys.stderr.write(f"{freezes} freezes, seed {seed}\n")
    return suite.returncode


if __name__ == "__main__":
    sys.exit(main())
