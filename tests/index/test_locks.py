"""Nobody waits for a lock with the GIL whose holder waits for the GIL: each script ends, whoever runs beside whom."""

from __future__ import annotations

import subprocess
import sys

import pytest

BESIDE = """
import mmap, sys, tempfile, threading, time
from engram import filter as filters
from engram.native import _core

sys.setswitchinterval(1e-5)
until = time.monotonic() + 2

def beside(work, others):
    def on():
        while time.monotonic() < until:
            work()
    threads = [threading.Thread(target=on) for _ in range(others)]
    [thread.start() for thread in threads]
    return threads
"""

SCRIPTS = {
    # Letting go of a map releases the GIL while the file is unmapped.
    "maps renewed beside readers": """
file = tempfile.TemporaryFile()
file.truncate(1 << 22)
maps = _core.BodyMaps()
readers = beside(lambda: maps.proved(0), 3)
while time.monotonic() < until:
    maps.put(0, memoryview(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)))
""",
    # Words that are not ASCII are asked of Python, while the columns are held.
    "columns looked at beside a filter": """
columns = _core.AttributeColumns()
columns.add(['{"t":"stra\u00dfe %d"}'.encode().replace(b"%d", b"%d" % number) for number in range(5000)])
def ask():
    tree = filters.parse('t match "stra\u00dfe %d"' % time.monotonic_ns())
    columns.matching(_core.FilterPlan(tree, filters.value_test), 5000)
readers = beside(ask, 2)
while time.monotonic() < until:
    columns.bytes
    columns.add([])
""",
    # A change of many rows is made without the GIL, and lets go of maps that were renewed meanwhile.
    "a space asked beside its writer": """
import struct
def payload(number):
    vector = struct.pack("<1024f", *[1.0 + number] * 1024)
    return (b"EPR1" + bytes(2) + struct.pack("<HIH", 1024, 2, 0)).ljust(64, b"\\0") + vector + b"{}"
data, rows = b"", []
for number in range(64):
    digest = bytes([number]) * 32
    rows.append((digest, len(data)))
    data += _core.encode_body(0, digest, payload(number))
file = tempfile.TemporaryFile()
file.write(data)
file.flush()
def mapped():
    return memoryview(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ))
maps = _core.BodyMaps()
maps.put(0, mapped())
space = _core.Space(1024, maps)
def change():
    assert space.add(rows) == []
    [space.remove(location) for _, location in rows]
readers = beside(lambda: (len(space), space.head_rows, space.publish()), 2) + beside(lambda: maps.put(0, mapped()), 1)
while time.monotonic() < until and space.head_rows < 100_000:
    change()
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_threads_come_to_their_end(name: str) -> None:
    script = BESIDE + SCRIPTS[name] + "\n[reader.join() for reader in readers]\nprint('done')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n", done.stderr
