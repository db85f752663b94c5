"""Addresses of pods: each has a loopback address of its own, so that all may listen on the same ports."""

import itertools
import secrets
from collections.abc import Iterator


def pod_addresses() -> Iterator[str]:
    """Loopback addresses of a random block, so that nodes on one machine do not meet; 127.10 is Services'."""
    block = f"127.{64 + secrets.randbelow(128)}"
    start = secrets.randbelow(250)
    for n in itertools.count():
        yield f"{block}.{(start + n // 250) % 250 + 1}.{n % 250 + 1}"
