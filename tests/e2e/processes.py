"""Real processes for the end-to-end tests: a node on loopback, the command line, and a peer that is only a socket."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from engram.sdk import EngramClient

ROOT = Path(__file__).parents[2]
NODE = [sys.executable, "-c", "from engram.cli.node import main; main()"]
USER = [sys.executable, "-c", "from engram.cli.user import main; main()"]
PATIENCE_S = 30.0

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


def environ(**more):
    """Give the environment of a child: this package, no colours, nothing of the caller's node."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENGRAM", "COLUMNS"))}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | more


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def run(command, *arguments, stdin=b"", cwd=None, encoding="utf-8", **variables):
    """Run a command to its end; give its exit code and what it printed. Arguments may be bytes."""
    words = [word if isinstance(word, bytes) else str(word) for word in arguments]
    ran = subprocess.run(
        [*command, *words],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        timeout=PATIENCE_S,
        env=environ(**variables),
        check=False,
    )
    return Ran(ran.returncode, ran.stdout.decode(encoding), ran.stderr.decode(encoding))


class Node:
    """A node in a process of its own, on a free port of loopback."""

    def __init__(self, data, *arguments, cwd=None, limit_kib=None, command=NODE, **variables):
        self.data = Path(data)
        self.log = self.data.with_name(self.data.name + ".log")
        self._arguments, self._cwd, self._variables = arguments, cwd or self.data.parent, variables
        self.limit_kib = limit_kib
        self._command = command
        self.start()

    def start(self):
        """Start the process, and wait until it listens; a node that does not start raises what it said."""
        self.said = []
        limit = [] if self.limit_kib is None else ["/bin/bash", "-c", f'ulimit -f {self.limit_kib}; exec "$@"', "bash"]
        command = [
            *limit,
            *self._command,
            "--data",
            str(self.data),
            "--port",
            "0",
            *map(str, self._arguments),
        ]
        variables = {"ENGRAM_HTTP_PORT": "0"} | self._variables  # over which the test's own arguments go
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, bufsize=0, stdout=subprocess.PIPE, stderr=log, cwd=self._cwd, env=environ(**variables)
            )
        self.url, *more = self.wait_for("listening: ").split()[1::2]
        self.http_url = more[0] if more else None
        self.port = int(self.url.rsplit(":", 1)[1])

    def wait_for(self, beginning):
        """Give the line that begins so, from what this process has said or will say."""
        for line in self.said:
            if line.startswith(beginning):
                return line
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 0.5)[0]:
                line = self.process.stdout.readline().decode().strip()
                self.said.append(line)
                if line.startswith(beginning):
                    return line
                if not line:
                    break
        raise AssertionError(f"no {beginning!r} from the node, but {self.said} and {self.logged()}")

    def logged(self):
        """Give everything that the node has written to standard error."""
        return self.log.read_text()

    def stop(self, number=signal.SIGTERM, within_s=15.0):
        """End the node by a signal; what a sound end is, is judged here."""
        self.process.send_signal(number)
        code = self.process.wait(within_s)
        self.process.stdout.close()
        assert (code, self.troubles()) == (0, [])

    def kill(self):
        """End the node as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()

    def troubles(self):
        """Give the lines of the log that only a bug of ours explains."""
        return [line for line in self.logged().splitlines() if re.search(r"Traceback|crashed|_failed|\[error", line)]

    def client(self, timeout=PATIENCE_S):
        """Give a client."""
        return EngramClient(self.url, timeout)

    def bytes_on_disk(self, pattern):
        """Give the bytes of the data folder's files that fit."""
        return b"".join(path.read_bytes() for path in sorted(self.data.glob(pattern)))


class Peer:
    """A stranger: a socket, a msgpack library, and bad intentions."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Send all of it, unless the node has closed already."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def receive(self):
        """Give the next message; None at the end."""
        while True:
            try:
                message = unpack(self.buffer)
            except msgspec.DecodeError as error:
                if "trailing" in str(error):
                    decoded, self.buffer = _first(self.buffer)
                    return decoded
            else:
                self.buffer = b""
                return message
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data

    def call(self, method, params, call_id=1):
        """Call, and give (error, result)."""
        return self.call_bytes(pack([0, call_id, method, [params]]))

    def call_bytes(self, data):
        """Send a call of whatever bytes, and give (error, result)."""
        self.send(data)
        kind, _, error, result = self.receive()
        assert kind == 1
        return error, result


def _first(buffer):
    """Cut the first message off a buffer that holds several."""
    low, high = 1, len(buffer)
    for size in range(low, high):
        try:
            return unpack(buffer[:size]), buffer[size:]
        except msgspec.DecodeError:
            continue
    raise AssertionError("the buffer holds several messages, and no first")


@contextmanager
def unchanged(node):
    """Judge that what happens within leaves the node answering, its log as long as it was, and no trouble in it."""
    with node.client() as client:
        before, troubles = client.status(), node.troubles()
        yield
        after = client.status()
    assert (after.position, after.records) == (before.position, before.records)
    assert node.troubles() == troubles


def code_of(call, *arguments, **options):
    """Make a call that must be refused; give its error."""
    try:
        answer = call(*arguments, **options)
    except Exception as error:  # noqa: BLE001 (which kind it is, is what the caller judges)
        return error
    raise AssertionError(f"accepted: {answer!r:.200}")
