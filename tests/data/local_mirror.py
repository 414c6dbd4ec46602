"""A file server on this machine that behaves as well or as badly as a test wants."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Mirror:
    """Files by path, how the server treats them, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    cut_after: int | None = None  # bytes of a body after which the connection breaks
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    base: str = ""


def handler_of(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            mirror.requests.append((self.path, asked))
            if self.path not in mirror.files:
                self.send_error(404)
                return
            body = mirror.files[self.path]
            start = int(re.match(r"bytes=(\d+)-$", asked)[1]) if asked and mirror.ranges else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if mirror.lengths:
                self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            sent = body[start:] if mirror.cut_after is None else body[start : start + mirror.cut_after]
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Mirror]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(files: dict[str, bytes], **behaviour: object) -> Mirror:
        mirror = Mirror(files, **behaviour)  # type: ignore[arg-type]
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(mirror))
        mirror.base = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return mirror

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
