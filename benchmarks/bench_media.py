"""What becomes of a 720p clip after its last frame: the gate's look, watermark, H.264, pictures, signature.

A clip of 81 frames with camera motion, texture and a little grain, about as hard to encode as a film.
Usage: python benchmarks/bench_media.py [--runs N]. Prints a table, writes build/bench/media.json.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from videofleet_worker.gate import Gate
from videofleet_worker.media import read_frames, write_spritesheet, write_thumbnail, write_video
from videofleet_worker.protocol import FramesFile
from videofleet_worker.watermark import Watermark

WIDTH, HEIGHT, FRAMES = 1280, 720, 81


def clip(path: Path) -> FramesFile:
    """Writes the clip."""
    source = np.random.default_rng(0)
    coarse = source.integers(0, 256, (HEIGHT // 16 + 8, WIDTH // 16 + 16, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((16, 16, 1), np.uint8)).astype(np.int16)
    for axis in (0, 1):  # soft edges
        picture = sum(np.roll(picture, shift, axis) for shift in range(-6, 7)) // 13
    with path.open("wb") as file:
        for index in range(FRAMES):
            view = picture[index : index + HEIGHT, 2 * index : 2 * index + WIDTH]
            grain = source.integers(-2, 3, (HEIGHT, WIDTH, 1), dtype=np.int16)
            file.write(np.clip(view + grain, 0, 255).astype(np.uint8).tobytes())
    return FramesFile(path=str(path), width=WIDTH, height=HEIGHT, num_frames=FRAMES, fps=16)


def measure(frames: FramesFile, folder: Path, runs: int) -> dict[str, tuple[float, float]]:
    """Medians of seconds, by the clock and of all cores together."""
    video, picture = folder / "clip.mp4", folder / "clip.jpg"
    mark = Watermark("Made with AI · VideoFleet", WIDTH, HEIGHT)

    def looked() -> Gate:
        gate = Gate()
        for frame in read_frames(frames):
            gate.see(frame)
        return gate

    def whole() -> None:
        gate = Gate()
        write_video(frames, video, title="t", comment="c", see=gate.see, mark=mark.draw)
        assert gate.flaw() is None
        write_thumbnail(frames, picture, mark=mark.draw)
        write_spritesheet(frames, picture, mark=mark.draw)

    def marked() -> None:
        for frame in read_frames(frames):
            mark.draw(frame)

    ways: dict[str, Callable[[], object]] = {
        "read the frames": lambda: list(map(len, read_frames(frames))),
        "read and look (the gate)": looked,
        "read and draw (the watermark)": marked,
        "encode": lambda: write_video(frames, video, title="t", comment="c"),
        "thumbnail": lambda: write_thumbnail(frames, picture),
        "sprite sheet": lambda: write_spritesheet(frames, picture),
        "all of it, in one pass": whole,
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for name, work in list(ways.items()) * (runs + 1):
        begun = time.perf_counter(), time.process_time()
        work()
        took[name].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    return {
        name: (statistics.median(clock for clock, _ in each[1:]), statistics.median(cpu for _, cpu in each[1:]))
        for name, each in took.items()
    }


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(clip(Path(folder) / "clip.rgb"), Path(folder), options.runs)
    report = {"bench": "media", "frames": FRAMES, "seconds": seconds, "cores": os.cpu_count(), "load": os.getloadavg()}
    out = Path("build/bench/media.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2))
    table = Table(title=f"a clip of {WIDTH}x{HEIGHT}x{FRAMES}, {os.cpu_count()} cores")
    for column in ("what", "s", "s of CPU"):
        table.add_column(column)
    for name, (clock, cpu) in seconds.items():
        table.add_row(name, f"{clock:.3f}", f"{cpu:.3f}")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
