"""A real S3 server in a process of its own, and a proxy before it that makes trouble."""

import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


def moto_server() -> str | None:
    """The command of moto's server, where `make setup` has installed it.

    None that is on PATH: of an older one, the end of an upload is no success to Arrow.
    """
    return shutil.which("moto_server", path=str(ROOT / ".venv-moto/bin"))


needs_moto = pytest.mark.skipif(
    moto_server() is None, reason="moto's S3 server is not installed: `make setup` does it"
)


@contextmanager
def s3_server(log: Path) -> Iterator[int]:
    """Starts moto's server with a bucket named "bucket"; gives its port."""
    command = moto_server()
    assert command is not None  # the test is skipped without it
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with log.open("wb") as out:
        process = subprocess.Popen(
            [command, "-H", "127.0.0.1", "-p", str(port)],
            stdout=out,
            stderr=out,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )
    try:
        _make_bucket(port, process, log)
        yield port
    finally:
        process.kill()
        process.wait()


def _make_bucket(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    url = f"http://127.0.0.1:{port}/bucket"
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            request = urllib.request.Request(url, method="PUT")
            with urllib.request.urlopen(request, timeout=5.0):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"moto's server did not start: {log.read_text()}") from None
            time.sleep(0.1)


class Trouble(ThreadingTCPServer):
    """A proxy that answers requests with 503 SlowDown, or drops them; `trouble` counts down.

    Every connection serves one request, so that each is counted.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.slow_downs = 0
        self.drops = 0
        self.done: list[str] = []
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def next_trouble(self) -> str | None:
        """What happens to the next request."""
        with self._lock:
            if self.slow_downs > 0:
                self.slow_downs -= 1
                self.done.append("slow down")
                return "slow down"
            if self.drops > 0:
                self.drops -= 1
                self.done.append("drop")
                return "drop"
            return None


class _Connection(BaseRequestHandler):
    server: Trouble

    def handle(self) -> None:
        head, body = _read_request(self.request)
        if not head:
            return
        match self.server.next_trouble():
            case "drop":
                return
            case "slow down":
                self.request.sendall(
                    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(SLOW_DOWN) + SLOW_DOWN
                )
                return
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection")]
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            upstream.sendall(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
            while piece := upstream.recv(65536):
                self.request.sendall(piece)


def _read_request(client: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body, of a known length or in chunks; empty where the client hung up."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return b"", b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    if headers.get(b"expect", b"").strip() == b"100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(
            line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect")
        )
    length = int(headers.get(b"content-length", b"0"))
    chunked = b"chunked" in headers.get(b"transfer-encoding", b"")
    while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
        piece = client.recv(65536)
        if not piece:
            return b"", b""
        body += piece
    return head, body


@contextmanager
def troubled(target: int) -> Iterator[Trouble]:
    """A proxy before a port."""
    with Trouble(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def s3_uri(port: int, prefix: str) -> str:
    """The URI of a prefix in the bucket behind a port."""
    return f"s3://bucket/{prefix}?scheme=http&region=us-east-1&endpoint_override=127.0.0.1%3A{port}"
