"""Time an empty call, `ping`, over RPC against an empty call as JSON with aiohttp, and count pings that are pipelined.

Usage: python bench/rpc_ping.py [--calls 2000] [--rounds 7] [--pings 200000] [--window 1000]

Servers are processes of their own on loopback; the client is this one. Each round takes every contestant in turn, one
call after another. `aiohttp` is its server and its client, an empty JSON object there and back; `aiohttp, bare socket`
spares it its client: the bytes of the same request, sent as they are. `ping, codec` is a blocking socket and the codec,
`ping, EngramClient` with the pool, the deadlines and the retries. Pipelined pings go out --window at a time, with two
windows under way. Processor time is the server's, of a call.

Rival: pip install aiohttp. Where it is not here, the node is timed alone.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from node_process import NodeProcess

from engram.sdk import EngramClient
from engram.wire import ClientConnection, Ping

if TYPE_CHECKING:
    from collections.abc import Callable

BASELINE = "aiohttp"
BAR, PIPELINED_BAR = 0.25, 40_000
RIVAL = """
import asyncio

from aiohttp import web


async def ping(request):
    await request.json()
    return web.json_response({})


async def main():
    app = web.Application()
    app.router.add_post("/ping", ping)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pings", type=int, default=200_000)
    parser.add_argument("--window", type=int, default=1000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        node = stack.enter_context(NodeProcess(Path(folder) / "data"))
        measure(options, stack, node)


def measure(options: argparse.Namespace, stack: ExitStack, node: NodeProcess) -> None:
    port = int(node.url.rsplit(":", 1)[1])
    contestants: dict[str, tuple[int, Callable[[int], float]]] = {}
    if importlib.util.find_spec("aiohttp") is None:
        print("no aiohttp here, so no rival: pip install aiohttp")
    else:
        rival, rival_port = start_rival(stack)
        contestants[BASELINE] = rival, lambda calls: asyncio.run(aiohttp_calls(rival_port, calls))
        contestants["aiohttp, bare socket"] = rival, lambda calls: http_calls(rival_port, calls)
    client = stack.enter_context(EngramClient(node.url))
    contestants["ping, EngramClient"] = node.pid, lambda calls: client_calls(client, calls)
    contestants["ping, codec"] = node.pid, lambda calls: rpc_calls(port, calls)
    in_turns(contestants, options)
    pipelined = [pipeline(node.pid, port, options.pings, options.window) for _ in range(options.rounds)]
    rates, served_us = zip(*pipelined, strict=True)
    print(
        f"\npipelined, {options.window} at a time: median {statistics.median(rates):,.0f} calls/s, best"
        f" {max(rates):,.0f} (bar {PIPELINED_BAR:,}); {statistics.median(served_us):.1f} µs of the server's processor"
    )


def in_turns(contestants: dict[str, tuple[int, Callable[[int], float]]], options: argparse.Namespace) -> None:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, (pid, calls) in contestants.items():
            calls(options.calls // 10)
            before = processor_s(pid)
            took_us = calls(options.calls) * 1e6 / options.calls
            times[name].append((took_us, (processor_s(pid) - before) * 1e6 / options.calls))
    base = statistics.median(us for us, _ in times[BASELINE]) if BASELINE in times else None
    print("| | median µs | best µs | server's processor µs | times aiohttp | bar |\n|---|---:|---:|---:|---:|---:|")
    for name, rounds in times.items():
        median = statistics.median(us for us, _ in rounds)
        ratio = f"{median / base:.2f}" if base else ""
        bar = str(BAR) if name.startswith("ping") else ""
        served = statistics.median(us for _, us in rounds)
        print(f"| {name} | {median:.1f} | {min(us for us, _ in rounds):.1f} | {served:.1f} | {ratio} | {bar} |")


# -- the contestants: seconds for so many calls, one after another ----------------------------------------------------


async def aiohttp_calls(port: int, calls: int) -> float:
    import aiohttp  # noqa: PLC0415 (the rival, which may not be here)

    async with aiohttp.ClientSession() as session:

        async def call() -> None:
            async with session.post(f"http://127.0.0.1:{port}/ping", json={}) as response:
                assert await response.json() == {}

        await call()
        started = time.perf_counter()
        for _ in range(calls):
            await call()
        return time.perf_counter() - started


def http_calls(port: int, calls: int) -> float:
    request = (
        f"POST /ping HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\n\r\n{}"
    ).encode()
    with connected(port) as sock:
        started = time.perf_counter()
        for _ in range(calls):
            sock.sendall(request)
            data = b""
            while not data.endswith(b"\r\n\r\n{}"):
                data += sock.recv(65536)
        return time.perf_counter() - started


def client_calls(client: EngramClient, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        client.ping()
    return time.perf_counter() - started


def rpc_calls(port: int, calls: int) -> float:
    codec = ClientConnection()
    with connected(port) as sock:
        started = time.perf_counter()
        for _ in range(calls):
            _, data = codec.call(Ping())
            sock.sendall(data)
            while not codec.receive(sock.recv(65536)):
                pass
        return time.perf_counter() - started


def pipeline(pid: int, port: int, pings: int, window: int) -> tuple[float, float]:
    """Give calls a second, and the server's processor µs of each."""
    pack = msgspec.msgpack.Encoder().encode
    batch = b"".join(pack([0, number, "ping", [{}]]) for number in range(window))
    answered = b"".join(pack([1, number, None, {}]) for number in range(window))
    with connected(port) as sock:
        before, started = processor_s(pid), time.perf_counter()
        sock.sendall(batch)
        for left in range(pings // window, 0, -1):
            if left > 1:
                sock.sendall(batch)
            assert received(sock, len(answered)) == answered
        took_s = time.perf_counter() - started
    return pings / took_s, (processor_s(pid) - before) * 1e6 / pings


def received(sock: socket.socket, size: int) -> bytes:
    parts, left = [], size
    while left:
        parts.append(sock.recv(min(left, 262_144)))
        left -= len(parts[-1])
    return b"".join(parts)


# -- processes --------------------------------------------------------------------------------------------------------


def start_rival(stack: ExitStack) -> tuple[int, int]:
    process = subprocess.Popen([sys.executable, "-c", RIVAL], stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    return process.pid, int(process.stdout.readline())


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


if __name__ == "__main__":
    main()
