"""One embedder in a process of its own, which `embed_process.py` starts and asks: a line of JSON in, one out.

Usage: python bench/embed_contestant.py '{"backend": "engram", ...}' FIRST_TEXT

It embeds FIRST_TEXT and says so; from its execution to that line is what a user waits for. Then each line names texts,
how many go in together (`batch`) and how many threads work; the answer has the seconds. Where one thread works, its
processor time is what counts: other programs of a shared machine hardly change that.
"""

# ruff: noqa: PLC0415 - imports wait for their contestant: its memory and its start must be without the others' libraries

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Engram:
    """One embedder; each thread takes the next `batch` texts from a common queue."""

    def __init__(self, kernel: str | None = None) -> None:
        from engram.embed import find_model, load_embedder

        files = find_model()
        assert files is not None, "engram model fetch"
        self._embedder = load_embedder(files, kernel=kernel)

    def embed(self, texts, batch, threads):
        def some(part):
            return self._embedder.embed(part).vectors

        return _in_turns(some, _parts(texts, batch), threads)


class Onnx:
    """A session with `threads` threads of its own, or one of one thread that Python's `callers` threads share."""

    def __init__(self, graph: str, tokenizer: str, threads: int = 1) -> None:
        import numpy as np
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(256)
        self._np = np

    def embed(self, texts, batch, threads):
        """By length, so that little is padded: what onnxruntime does best."""
        encoded = [e.ids for e in self._tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
        vectors = _in_turns(lambda part: self._run([encoded[i] for i in part]), _parts(order, batch), threads)
        found = dict(zip(order, vectors, strict=True))
        return [found[index] for index in range(len(texts))]

    def _run(self, encoded):
        np = self._np
        ids = np.zeros((len(encoded), max(map(len, encoded))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return list(self._session.run(None, inputs)[0])


class Torch:
    """sentence-transformers as it comes, in float32 on the CPU; it sorts by length itself."""

    def __init__(self, folder: str, threads: int = 1) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self._model = SentenceTransformer(folder, device="cpu", local_files_only=True)

    def embed(self, texts, batch, threads):
        assert threads == 1
        return list(self._model.encode(texts, batch_size=batch, show_progress_bar=False))


BACKENDS = {"engram": Engram, "onnxruntime": Onnx, "torch": Torch}


def main() -> None:
    task = json.loads(sys.argv[1])
    contestant = BACKENDS[task.pop("backend")](**task)
    contestant.embed([sys.argv[2]], 1, 1)
    _say({"processor_s": time.process_time(), "peak_mib": peak_mib()})
    for line in sys.stdin:
        ask = json.loads(line)
        start, processor = time.perf_counter(), time.process_time()
        if ask["alone"]:
            vectors = [contestant.embed([text], 1, 1)[0] for text in ask["texts"]]
        else:
            vectors = contestant.embed(ask["texts"], ask["batch"], ask["threads"])
        answer = {"wall_s": time.perf_counter() - start, "processor_s": time.process_time() - processor}
        answer["peak_mib"] = peak_mib()
        if ask["keep"]:
            answer["vectors"] = [bytes(vector).hex() for vector in vectors]
        _say(answer)


def _parts(items: list, size: int) -> list[list]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _in_turns(work: Callable[[list], Sequence], parts: list[list], threads: int) -> list:
    """Do every part, the last first (those are the longest ones where they are sorted), on so many threads."""
    done: list[Sequence] = [()] * len(parts)
    left = list(enumerate(parts))

    def turns() -> None:
        while left:
            try:
                index, part = left.pop()
            except IndexError:  # another thread was faster
                return
            done[index] = work(part)

    others = [threading.Thread(target=turns) for _ in range(threads - 1)]
    for other in others:
        other.start()
    turns()
    for other in others:
        other.join()
    return [item for part in done for item in part]


def peak_mib() -> float:
    """The most memory this program has had at once.

    Linux counts in `ru_maxrss` what the starting process had before this program replaced its copy, so it is not asked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _say(answer: dict) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
