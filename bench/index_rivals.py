"""The graphs that the index is measured against, each from its own package, on one thread.

A rival is built once for each of its settings, into a folder if one is given, and its width of search is then the
smallest with the recall that is asked for. What a package is not here for is left out, and said.
"""

# ruff: noqa: PLC0415 - which packages are here is only known when they are asked for

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from index_data import K

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTHS = (16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 400, 512, 640, 800)


class Rival(ABC):
    """A graph over unit vectors, by inner product; what it finds are row numbers."""

    package = ""
    module = ""
    settings: tuple[tuple[Any, ...], ...] = ()

    def __init__(self, *setting: Any) -> None:
        self.setting = setting
        self.width = 0
        self.build_cpu_s = 0.0

    @property
    def name(self) -> str:
        """What stands in a table."""
        return f"{self.package} {', '.join(map(str, self.setting))}, width {self.width}"

    @abstractmethod
    def build(self, rows: np.ndarray, path: Path) -> None:
        """Make the graph of these rows at `path`."""

    @abstractmethod
    def load(self, rows: np.ndarray, path: Path) -> None:
        """Open the graph at `path`; the rows are those that it was made of."""

    @abstractmethod
    def search(self, query: np.ndarray) -> Sequence[int]:
        """Give the rows nearest to the query, K of them."""

    def widen(self, width: int) -> None:
        """Search with this width from now on."""
        self.width = width


class Hnswlib(Rival):
    package, module = "hnswlib", "hnswlib"
    settings = ((16, 100), (16, 200), (24, 200), (32, 200))

    def build(self, rows: np.ndarray, path: Path) -> None:
        links, effort = self.setting
        index = self._empty(rows)
        index.init_index(len(rows), M=links, ef_construction=effort)
        index.add_items(rows, num_threads=1)
        index.save_index(str(path))

    def load(self, rows: np.ndarray, path: Path) -> None:
        self._index = self._empty(rows)
        self._index.load_index(str(path))
        self._index.set_num_threads(1)

    def _empty(self, rows: np.ndarray) -> Any:
        import hnswlib

        return hnswlib.Index("ip", rows.shape[1])

    def widen(self, width: int) -> None:
        super().widen(width)
        self._index.set_ef(width)

    def search(self, query: np.ndarray) -> Sequence[int]:
        return self._index.knn_query(query, K, num_threads=1)[0][0]


class Usearch(Rival):
    """By its own components, or as `i8` by codes of ours, since its cast keeps few levels, and a float32 re-rank."""

    package, module = "usearch", "usearch"
    settings = (("bf16", 16), ("i8", 16), ("i8", 24))
    _more = 3

    def build(self, rows: np.ndarray, path: Path) -> None:
        index = self._empty(rows)
        index.add(np.arange(len(rows), dtype=np.uint64), self._coded(rows, rows), threads=1)
        index.save(str(path))

    def load(self, rows: np.ndarray, path: Path) -> None:
        self._rows = rows
        self._scale = _scale(rows)
        self._index = self._empty(rows)
        self._index.view(str(path))

    def _empty(self, rows: np.ndarray) -> Any:
        from usearch.index import Index

        kind, links = self.setting
        return Index(ndim=rows.shape[1], metric="ip", dtype=kind, connectivity=links, expansion_add=128)

    def _coded(self, rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return vectors if self.setting[0] != "i8" else _int8(vectors, _scale(rows))

    def widen(self, width: int) -> None:
        super().widen(width)
        self._index.expansion_search = width

    def search(self, query: np.ndarray) -> Sequence[int]:
        if self.setting[0] != "i8":
            return self._index.search(query, K, threads=1).keys
        keys = self._index.search(_int8(query, self._scale), K * self._more, threads=1).keys
        return keys[np.argsort(self._rows[keys] @ query)[: -K - 1 : -1]]


def _scale(rows: np.ndarray) -> float:
    return float(127 / np.quantile(np.abs(rows[:20_000]).max(axis=1), 0.99))


def _int8(vectors: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.rint(vectors * scale), -127, 127).astype(np.int8)


class Faiss(Rival):
    package, module = "faiss-cpu", "faiss"
    settings = ((16, 100), (32, 200))

    def build(self, rows: np.ndarray, path: Path) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        links, effort = self.setting
        index = faiss.IndexHNSWFlat(rows.shape[1], links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = effort
        index.add(rows)
        faiss.write_index(index, str(path))

    def load(self, _rows: np.ndarray, path: Path) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._index = faiss.read_index(str(path))

    def widen(self, width: int) -> None:
        super().widen(width)
        self._index.hnsw.efSearch = width

    def search(self, query: np.ndarray) -> Sequence[int]:
        return self._index.search(query[None], K)[1][0]


class QdrantEdge(Rival):
    """A shard, its graph of the given links and effort. `payloads` and `fields`: an index for each field of these.

    The graph has no links of its own for each value of a field: they took over ten times as long to build, and where a
    filter leaves few rows it is not asked anyway.
    """

    package, module = "qdrant-edge-py", "qdrant_edge"
    settings = ((16, 100),)

    def __init__(self, *setting: Any) -> None:
        super().__init__(*setting)
        self.payloads: Sequence[dict[str, Any]] | None = None
        self.fields: dict[str, str] = {}

    def build(self, rows: np.ndarray, path: Path) -> None:
        import qdrant_edge as qdrant

        path.mkdir()
        links, effort = self.setting
        config = qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(size=rows.shape[1], distance=qdrant.Distance.Dot),
            hnsw_config=qdrant.HnswIndexConfig(links, effort, 10_000, 1, payload_m=0),
            optimizers=qdrant.EdgeOptimizersConfig(indexing_threshold=1000, default_segment_number=1),
            max_search_threads=1,
        )
        shard = qdrant.EdgeShard.create(str(path), config)
        update = qdrant.UpdateOperation
        for field, kind in self.fields.items():
            shard.update(update.create_field_index(field, getattr(qdrant.PayloadSchemaType, kind)))
        payloads = self.payloads or [None] * len(rows)
        for at in range(0, len(rows), 1000):
            points = [qdrant.Point(row, rows[row], payloads[row]) for row in range(at, min(at + 1000, len(rows)))]
            shard.update(update.upsert_points(points))
        while shard.optimize():
            pass
        shard.close()

    def load(self, rows: np.ndarray, path: Path) -> None:
        import qdrant_edge as qdrant

        self._qdrant = qdrant
        self._shard = qdrant.EdgeShard.load(str(path))
        indexed = self._shard.info().indexed_vectors_count
        assert indexed >= 0.9 * len(rows), f"only {indexed} of {len(rows)} rows are in its graph"

    def search(self, query: np.ndarray, condition: Any = None) -> Sequence[int]:
        qdrant = self._qdrant
        params = qdrant.SearchParams(hnsw_ef=self.width)
        request = qdrant.QueryRequest(K, query=qdrant.Query.Nearest(query), filter=condition, params=params)
        return [point.id for point in self._shard.query(request)]


RIVALS: tuple[type[Rival], ...] = (Hnswlib, Usearch, Faiss, QdrantEdge)


def present(kinds: Iterable[type[Rival]]) -> list[type[Rival]]:
    """Give the kinds whose package is here; say what to install for the others."""
    kinds = list(kinds)
    missing = [kind.package for kind in kinds if importlib.util.find_spec(kind.module) is None]
    if missing:
        print(f"left out, not here: pip install {' '.join(missing)}\n", flush=True)
    return [kind for kind in kinds if kind.package not in missing]


def built(rival: Rival, rows: np.ndarray, folder: Path | None) -> Rival:
    """Build the rival in the folder, or take what was built there of as many rows; say what it takes in CPU seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        name = "-".join(map(str, (rival.module, len(rows), *rival.setting, *getattr(rival, "fields", ()))))
        path = (folder or Path(temporary)) / name
        taken = path.with_name(f"{name}.json")
        if not taken.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.rmtree(path)  # what an end in the middle left
            started = time.process_time()
            rival.build(rows, path)
            taken.write_text(json.dumps(time.process_time() - started))
        rival.build_cpu_s = json.loads(taken.read_text())
        rival.load(rows, path)  # what is mapped or open outlives the folder
    return rival
