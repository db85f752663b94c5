"""Chromium, driven through the DevTools protocol, and a small real video."""

import asyncio
import base64
import importlib.util
import itertools
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from PIL import Image

from videofleet_worker.media import write_spritesheet
from videofleet_worker.protocol import FramesFile

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
WIDTH, HEIGHT, FRAMES, FPS = 640, 360, 32, 16
LOADED_S = 60.0
AXE = """axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then((seen) =>
  seen.violations.map((each) => `${each.id}: ${each.help}: ${each.nodes.map((node) => node.html).join(' | ')}`))"""


class Browser:
    """One tab. Collects everything that a developer would see as an error."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.errors: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
                continue
            if told["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["params"]["exceptionDetails"]))
            if told["method"] == "Runtime.consoleAPICalled" and told["params"]["type"] in (
                "error",
                "warning",
                "assert",
            ):
                self.errors.append(json.dumps(told["params"]["args"]))
            if told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.errors.append(told["params"]["entry"]["text"] + " " + told["params"]["entry"].get("url", ""))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        told = await self._answers[number] if number in self._answers else {}
        assert "error" not in told, (method, told)
        return dict(told["result"])

    async def js(self, expression: str) -> Any:
        """What the expression gives, awaited. Raises: AssertionError with the exception's text."""
        told = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Waits until the expression is true."""
        deadline = time.monotonic() + LOADED_S
        while time.monotonic() < deadline:
            if found := await self.js(expression):
                return found
            await asyncio.sleep(0.05)
        text = await self.js("document.body.innerText")
        raise TimeoutError(f"{expression} did not become true; errors {self.errors}; the page says:\n{text}")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: int, text: str = "", modifiers: int = 0) -> None:
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def look(self, width: int, theme: str) -> bytes:
        """A screenshot of the whole page in this width and theme, PNG."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        mobile = width < 600
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": mobile}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.js("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def axe(self) -> list[str]:
        """What axe finds wrong with what is shown."""
        package = importlib.util.find_spec("axe_playwright_python")
        if package is None or package.origin is None:
            pytest.skip("needs axe-core: pip install --no-deps -r requirements/axe.txt")
        await self.js(Path(package.origin).with_name("axe.min.js").read_text() + ";0")
        return list(await self.js(AXE))

    async def close(self) -> None:
        self._reading.cancel()
        await self._socket.close()


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """A fresh Chromium with one empty tab."""
    if shutil.which("chromium") is None:
        pytest.skip("needs Debian's chromium, as CONTRIBUTING says")
    profile = tmp_path / "profile"
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        "chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank", stdout=quiet, stderr=quiet
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as reply:
                tab = next(each for each in await reply.json() if each["type"] == "page")
            async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=1 << 28) as socket:
                opened = Browser(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await opened.call(f"{domain}.enable")
                yield opened
                await opened.close()
    finally:
        process.terminate()
        await process.wait()


async def _port(file: Path) -> int:
    """Chromium writes it into its profile."""
    deadline = time.monotonic() + LOADED_S
    while time.monotonic() < deadline:
        written = _lines(file)
        if len(written) > 1:
            return int(written[0])
        await asyncio.sleep(0.05)
    raise TimeoutError("chromium did not start")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two seconds of a sunset over drifting hills, as MP4, its thumbnail and its sprite sheet."""
    folder = tmp_path_factory.mktemp("clip")
    pictures = [_picture(frame / FRAMES) for frame in range(FRAMES)]
    with av.open(str(folder / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    Image.fromarray(pictures[FRAMES // 2]).save(folder / "thumbnail.jpg", quality=85)
    raw = folder / "clip.rgb"
    raw.write_bytes(np.stack(pictures).tobytes())
    frames = FramesFile(path=str(raw), width=WIDTH, height=HEIGHT, num_frames=FRAMES, fps=FPS)
    write_spritesheet(frames, folder / "spritesheet.jpg")
    return folder / "video.mp4", folder / "thumbnail.jpg", folder / "spritesheet.jpg"


def _picture(phase: float) -> Any:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / HEIGHT
    low, high = np.array([255, 158, 94]), np.array([52, 33, 96])
    picture = low * y[..., None] + high * (1 - y[..., None])
    sun = np.hypot(x - 1.15, y - 0.42 - 0.12 * phase)
    picture += np.array([255, 220, 150]) * np.exp(-((sun / 0.13) ** 4))[..., None]
    for depth in range(3):
        ridge = 0.6 + 0.13 * depth + 0.05 * np.sin((3 + depth) * x * 2 + depth * 2 + (depth + 1) * 1.2 * phase)
        shade = np.array([86, 42, 92]) * (0.75 - 0.24 * depth)
        picture = np.where((y > ridge)[..., None], shade, picture)
    return picture.clip(0, 255).astype(np.uint8)
