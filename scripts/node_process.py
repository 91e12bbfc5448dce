"""A real node in a process of its own, for the scripts and benchmarks that need one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

NODE = (sys.executable, "-c", "from engram.cli.node import main; main()")
ENGRAM = (sys.executable, "-c", "from engram.cli.user import main; main()")
"""The two commands, as this Python has them, installed or not."""


class NodeProcess:
    """A node on a data folder, on any free port of loopback; `url` is where it listens."""

    def __init__(self, data: Path, *, wait: bool = True, kernel: str | None = None) -> None:
        """`kernel` names the one to embed with; the fastest of this CPU if left out."""
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [*NODE, "--data", data, "--port", "0", "--http-port", "-1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | ({"ENGRAM_KERNEL": kernel} if kernel else {}),
        )
        self.url = ""
        if wait:
            self.url = self._said("listening: ")

    @property
    def pid(self) -> int:
        """The node's process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_for_model(self) -> None:
        """Wait until texts can be embedded."""
        self._said("model ready: ")

    def kill(self) -> None:
        """Kill it with SIGKILL, wherever it is, and wait until it is gone; one that is gone stays so."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> None:
        """Stop it gracefully. RuntimeError, with what it said, where it does not end well."""
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise RuntimeError(f"the node ended with {self._process.returncode}: {said}")

    def _said(self, start: str) -> str:
        said = ""
        for line in self._process.stdout or ():
            said += line
            if line.startswith(start):
                return line.removeprefix(start).strip()
        code = self._process.wait()
        raise RuntimeError(f"the node ended with {code} before it said {start!r}: {said}")
