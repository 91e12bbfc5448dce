"""Who is attacked, and who is served meanwhile: a node, and good clients that are measured."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
from node_process import NODE

from attacking.doors import vector
from engram.errors import EngramError
from engram.sdk import EngramClient

if TYPE_CHECKING:
    from collections.abc import Iterator

PACE_S = 0.01
_TROUBLE = re.compile(r"Traceback|crashed|_failed|\[error")


class Node:
    """The node under attack, its log in a file."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "node.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*NODE, "--data", folder / "data", "--port", "0", "--http-port", "0"],
                stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"NO_COLOR": "1"},
            )  # fmt: skip
        urls = self._listening()
        self.url = next(url for url in urls if url.startswith("engram"))
        self.ports = {"http" if url.startswith("http") else "rpc": int(re.findall(r":(\d+)", url)[0]) for url in urls}

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def rss_mib(self) -> float:
        """Its resident memory."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self._process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def troubles(self) -> list[str]:
        """Give the lines of its log that only a bug explains."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if _TROUBLE.search(line)]

    def stop(self) -> int:
        """Stop it gracefully, or kill it after a minute; give its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _listening(self) -> list[str]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.alive:
            for line in self.log.read_text().splitlines():
                if line.startswith("listening: "):
                    return re.findall(r"\w+://\S+:\d+", line)
            time.sleep(0.05)
        raise RuntimeError(f"the node does not start: {self.log.read_text()}")


class Good:
    """A good client of one door, on a thread: milliseconds a call, and what it was refused."""

    def __init__(self, door: str, node: Node) -> None:
        self.ms: list[float] = []
        self.refused: list[str] = []
        self._ended = threading.Event()
        ask = self._rpc if door == "rpc" else self._http
        self._thread = threading.Thread(target=ask, args=(node,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _rpc(self, node: Node) -> None:
        rng = random.Random(1)  # noqa: S311 (a seed to repeat)
        with EngramClient(node.url, 30) as client:
            while not self._ended.is_set():
                with self._timed():
                    client.query_by_vector(vector(rng), top_k=5)

    def _http(self, node: Node) -> None:
        rng = random.Random(2)  # noqa: S311
        connection = http.client.HTTPConnection("127.0.0.1", node.ports["http"], timeout=30)
        while not self._ended.is_set():
            with self._timed():
                try:
                    body = msgspec.json.encode({"vector": vector(rng), "top_k": 5})
                    connection.request("POST", "/v1/query", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                except BaseException:
                    connection.close()
                    raise
                if answer.status != http.client.OK:
                    self.refused.append(str(answer.status))

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        except (EngramError, OSError, http.client.HTTPException) as error:
            self.refused.append(type(error).__name__)
        took_s = time.perf_counter() - started
        self.ms.append(took_s * 1000)
        self._ended.wait(max(0.0, PACE_S - took_s))

    def share(self, percent: int) -> float:
        """Give the milliseconds that so many of a hundred calls took at most."""
        ranked = sorted(self.ms) or [float("nan")]
        return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]
