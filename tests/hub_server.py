"""A small model hub: what the client and ranged GETs of `hf://` need, from a folder, on a thread. It can misbehave."""

import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "studio/tiny"


class Hub:
    """Serves one repository at one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token: str | None = None  # that must be sent
        self.delay_s = 0.0  # before each file's bytes
        self.failures = 0  # of the next requests for bytes
        self.damaged: set[str] = set()  # files that come with a flipped bit
        self.read: Counter[str] = Counter()  # how often each file's bytes were asked for
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def listing(self) -> dict[str, object]:
        siblings = []
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            data = file.read_bytes()
            entry: dict[str, object] = {"rfilename": file.relative_to(self.folder).as_posix(), "size": len(data)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if file.suffix == ".safetensors":
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return {"_id": "0", "id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings}

    def content(self, name: str) -> bytes | None:
        file = self.folder / name
        if not file.is_file():
            return None
        data = bytearray(file.read_bytes())
        if name in self.damaged:
            data[-1] ^= 1
        return bytes(data)


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hugging Face Hub does, as far as it is asked here."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.reply(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        elif path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
            self.reply(200, json.dumps(self.hub.listing()).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/api/"):
            is_ours = path.startswith(f"/api/models/{REPOSITORY}/")
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound" if is_ours else "RepoNotFound"})
        else:
            self.file(path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/"))

    def file(self, name: str) -> None:
        self.hub.read[name] += 1
        time.sleep(self.hub.delay_s)
        data = self.hub.content(name)
        if self.hub.failures:
            self.hub.failures -= 1
            self.reply(503, b"")
        elif data is None:
            self.reply(404, b"")
        else:
            start, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
            self.reply(206, data[int(start) : int(end) + 1])

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
