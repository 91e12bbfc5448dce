"""The rival of `index_rpc.py`: vectors in faiss, memories in a list, JSON over HTTP, on aiohttp.

Usage: python bench/index_rpc_rival.py VECTORS.npy MEMORIES.json {flat,hnsw}

`POST /query` of {"vector": [...], "k": 10} answers {"hits": [{"id", "score", "metadata", "text"}]}; `POST /width` of
{"width": 64} sets how widely the graph is searched. Prints its port when it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import faiss
import numpy as np
from aiohttp import web

LINKS, EFFORT = 16, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("memories", type=Path)
    parser.add_argument("kind", choices=("flat", "hnsw"))
    options = parser.parse_args()
    index = built(np.load(options.vectors), options.kind)
    faiss.omp_set_num_threads(1)  # a query alone gains nothing by more, and waits for them
    asyncio.run(serve(index, json.loads(options.memories.read_text())))


def built(vectors: np.ndarray, kind: str) -> faiss.Index:
    if kind == "flat":
        index = faiss.IndexFlatIP(vectors.shape[1])
    else:
        index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EFFORT
    index.add(vectors)
    return index


async def serve(index: faiss.Index, memories: list[dict]) -> None:
    async def query(request: web.Request) -> web.Response:
        asked = await request.json()
        vector = np.array([asked["vector"]], np.float32)
        scores, rows = index.search(vector, asked["k"])
        hits = [
            {"id": str(row), "score": score, **memories[row]}
            for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True)
        ]
        return web.json_response({"hits": hits})

    async def width(request: web.Request) -> web.Response:
        index.hnsw.efSearch = (await request.json())["width"]
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.post("/query", query), web.post("/width", width)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
