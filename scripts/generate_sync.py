"""Make the blocking half of the SDK, `engram/sdk/_sync/`, from the one for asyncio and trio, `engram/sdk/_async/`.

    python scripts/generate_sync.py          write it
    python scripts/generate_sync.py --check  say what is not as it would be written; exit code 1 then

A rule of the client is written once, with `async` and `await`, and read once more without those words. What touches
the world is not made but written, twice: the modules `BY_HAND`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SDK = Path(__file__).parent.parent / "engram" / "sdk"
BY_HAND = {"__init__.py", "_aside.py", "_net.py"}
HEADER = "# Made by scripts/generate_sync.py from {source}: change that one.\n"

WORDS = [
    (r"engram\.sdk\._async\b", "engram.sdk._sync"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\ban `async with`", "a `with`"),
    (r"`async with`", "`with`"),
    (r"`async for`", "`for`"),
    (r"`await (\w+)", r"`\1"),
    (r"\bawait ", ""),
    (r"\b(_?)Async([A-Z]\w*)", r"\1\2"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\b__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\ba(next|iter)\(", r"\1("),
    (r"\ba(iter_bytes|read)\b", r"\1"),
    (r"\baclos(e|ing)\b", r"clos\1"),
    (r"\bAwaitable\[(.*?)\]\]", r"\1]"),
    (r"\bAwaitable, |, Awaitable\b", ""),
]


def made(source: str, name: str) -> str:
    """Give the blocking module for the source of an asynchronous one."""
    for pattern, word in WORDS:
        source = re.sub(pattern, word, source)
    source = HEADER.format(source=f"engram/sdk/_async/{name}") + source
    tidied = _ruff(source, "check", "--fix-only", "--unsafe-fixes", "--quiet", "--select", "I,UP028")
    return _ruff(tidied, "format", "--quiet")


def _ruff(source: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(SDK / "_sync" / "made.py"), "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> int:
    """Write what is not as it should be, or say so."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path in sorted((SDK / "_async").glob("*.py")):
        if path.name in BY_HAND:
            continue
        target = SDK / "_sync" / path.name
        text = made(path.read_text(), path.name)
        if target.exists() and target.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"{target} is not what {path} makes; run python scripts/generate_sync.py")
        else:
            target.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
