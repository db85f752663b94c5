"""A load generator for `POST /v1/videos` that costs little, in a process of its own: prebuilt bytes, kept connections.

Closed loop: each connection sends as soon as it has its answer. With a rate, open loop: requests are due at fixed
moments and their latency counts from then, so that a stall is not hidden by requests that were never sent.
"""

import asyncio
import json
import multiprocessing
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Self

PROMPTS = [  # no two alike, so that nothing can be remembered from one to the next
    f"A {colour} {animal} runs through fresh snow at {hour}, {how}, low camera, breath steaming in the cold, take {n}."
    for n in range(20)
    for colour in ("red", "grey", "white", "young", "limping")
    for animal in ("fox", "wolf", "hare", "horse")
    for hour in ("dawn", "noon", "dusk")
    for how in ("slow motion", "fast", "towards us", "along a frozen river", "followed by a drone")
]


@dataclass(frozen=True)
class Load:
    """What to send."""

    ports: list[int]
    key: str
    connections: int
    seconds: float = 5.0
    rate: float | None = None  # requests a second; None: as many as it takes
    requests: int | None = None  # instead of a time

    def with_(self, **changes: Any) -> Self:
        """Another load."""
        return replace(self, **changes)


def measured(load: Load) -> dict[str, float]:
    """Runs the load in another process. Returns: requests, per_second, p50_ms, p99_ms, errors."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_in_child, (load,))


def _in_child(load: Load) -> dict[str, float]:
    return asyncio.run(_Generator(load).run())


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self, generator: "_Generator") -> None:
        self.generator = generator
        self.sent_at = 0.0
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, counted_from: float) -> None:
        self.sent_at = counted_from
        self.transport.write(self.generator.next_request())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self.buffer = body[length:]
            self.generator.answered(self, head.startswith(b"HTTP/1.1 202"))


class _Generator:
    """Keeps the connections busy and the times."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.took: list[float] = []
        self.errors = self.sent = 0
        self.idle: deque[_Connection] = deque()
        self.due: deque[float] = deque()  # moments whose request found no idle connection
        self.over = asyncio.Event()
        self.began = 0.0
        self.bytes = [self._request(prompt) for prompt in PROMPTS]

    def _request(self, prompt: str) -> bytes:
        body = json.dumps({"prompt": prompt}).encode()
        head = "POST /v1/videos HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {self.load.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def next_request(self) -> bytes:
        self.sent += 1
        return self.bytes[self.sent % len(self.bytes)]

    @property
    def is_over(self) -> bool:
        if self.load.requests is not None:
            return self.sent >= self.load.requests
        return time.perf_counter() - self.began >= self.load.seconds

    def answered(self, connection: _Connection, is_accepted: bool) -> None:
        now = time.perf_counter()
        self.took.append(now - connection.sent_at)
        self.errors += not is_accepted
        if self.load.rate is None and not self.is_over:
            connection.send(now)
        elif self.due:
            connection.send(self.due.popleft())
        else:
            self.idle.append(connection)
            if self.load.rate is None and len(self.idle) == self.load.connections:
                self.over.set()

    async def run(self) -> dict[str, float]:
        """Connects, sends, waits for the last answer."""
        loop = asyncio.get_running_loop()
        for number in range(self.load.connections):
            port = self.load.ports[number % len(self.load.ports)]
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self.idle.append(connection)
        self.began, cpu_began = time.perf_counter(), time.process_time()
        if self.load.rate is None:
            for _ in range(self.load.connections):
                self.idle.popleft().send(time.perf_counter())
            await self.over.wait()
        else:
            await self._paced(self.load.rate)
        wall_s = time.perf_counter() - self.began
        cpu_s = time.process_time() - cpu_began
        self.took.sort()
        return {
            "requests": len(self.took),
            "per_second": len(self.took) / wall_s,
            "p50_ms": self.took[len(self.took) // 2] * 1000,
            "p99_ms": self.took[int(len(self.took) * 0.99)] * 1000,
            "errors": self.errors,
            "generator_cpu_ms": cpu_s * 1000 / len(self.took),
        }

    async def _paced(self, rate: float) -> None:
        next_at = self.began
        while next_at < self.began + self.load.seconds:
            now = time.perf_counter()
            while next_at <= now:
                if self.idle:
                    self.idle.popleft().send(next_at)
                else:
                    self.due.append(next_at)
                next_at += 1 / rate
            await asyncio.sleep(max(0.0005, next_at - now))
        while len(self.idle) < self.load.connections:  # noqa: ASYNC110 - the last answers
            await asyncio.sleep(0.01)
