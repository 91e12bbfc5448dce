"""`GET /metrics`: the node in Prometheus's text format, version 0.0.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from starlette.responses import Response

from engram.gateway._metrics import BUCKETS_S
from engram.gateway.http._endpoint import HEADERS
from engram.wire import Actors, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engram.gateway._metrics import Metrics
    from engram.gateway.http._endpoint import Ask
    from engram.wire import ActorsResult, StatusResult

_STATES = ("absent", "fetching", "loading", "ready", "failed")


async def metrics(ask: Ask) -> Response:
    """Answer `GET /metrics`."""
    status = cast("StatusResult", await ask.call(Status()))
    actors = cast("ActorsResult", await ask.call(Actors()))
    text = "".join([*_node(status), *_actors(actors), *_doors(ask.door.metrics)])
    return Response(text, 200, HEADERS, "text/plain; version=0.0.4; charset=utf-8")


def _node(status: StatusResult) -> Iterable[str]:
    yield _family(
        "info", "gauge", "The build and the role of this node.", [({"version": status.version, "role": status.role}, 1)]
    )
    yield _one("uptime_seconds", "gauge", "Seconds since the node was started.", status.uptime_s)
    yield _one("records", "gauge", "Living records, the chunks of long texts among them.", status.records)
    yield _one("chunks", "gauge", "Living records that are chunks of long texts.", status.chunks)
    yield _one("namespaces", "gauge", "Namespaces.", status.namespaces)
    yield _one("log_position", "counter", "Events in the log.", status.position)
    yield _one("log_bytes", "gauge", "Bytes of the log on disk.", status.log_bytes)
    yield _one("bodies_bytes", "gauge", "Bytes of the records' bodies on disk.", status.bodies_bytes)
    yield _one("write_queue_length", "gauge", "Writes that wait for the disk.", status.queue_length)
    yield _one("scrub_damages", "gauge", "What the scrub found wrong on disk.", status.scrub.damages)
    yield _one("scrub_checked_bytes", "gauge", "Bytes that the scrub's pass has been over.", status.scrub.checked_bytes)
    yield _one("index_rows", "gauge", "Living rows of the public namespace's index.", status.index.rows)
    yield _one("index_sealed_parts", "gauge", "Sealed parts of the public namespace's index.", status.index.sealed)
    outcomes = [({"outcome": name}, status.challenges[name]) for name in status.challenges.__struct_fields__]
    yield _family("challenges", "counter", "Challenges of this node, by what has become of them.", outcomes)
    if status.index.recall is not None:
        help_ = "Share of the nearest rows that fast queries have found, by replaying them exactly."
        yield _one("index_recall", "gauge", help_, status.index.recall.recall)
    models = [(model.name or model.model_version or "", model.state) for model in (status.model, *status.models)]
    samples = [({"model": name, "state": state}, float(state == now)) for name, now in models for state in _STATES]
    yield _family("model_state", "gauge", "1 for the state that an embedding model is in.", samples)


def _actors(found: ActorsResult) -> Iterable[str]:
    by_name: list[tuple[str, str, str, str]] = [
        ("actor_waiting", "gauge", "Messages in an actor's mailbox.", "waiting"),
        ("actor_handled", "counter", "Messages that an actor has handled.", "handled"),
        ("actor_crashes", "counter", "Crashes of an actor.", "crashes"),
        ("actor_dead_letters", "counter", "Messages that an actor gave up.", "dead_letters"),
    ]
    for name, kind, help_, field in by_name:
        yield _family(name, kind, help_, [({"actor": actor.name}, actor[field]) for actor in found.actors])


def _doors(metrics: Metrics) -> Iterable[str]:
    samples = [
        ({"door": door, "method": method, "code": code}, count)
        for (door, method, code), count in sorted(metrics.requests.items())
    ]
    yield _family("requests", "counter", "Requests that were answered, by what became of them.", samples)
    yield from _latencies(metrics)


def _latencies(metrics: Metrics) -> Iterable[str]:
    name = "engram_request_duration_seconds"
    yield f"# HELP {name} How long requests took.\n# TYPE {name} histogram\n"
    for door, latency in sorted(metrics.latencies.items()):
        total = 0
        for end, count in zip((*map(repr, BUCKETS_S), "+Inf"), latency.counts, strict=True):
            total += count
            yield f'{name}_bucket{{door="{door}",le="{end}"}} {total}\n'
        yield f'{name}_sum{{door="{door}"}} {latency.sum_s!r}\n{name}_count{{door="{door}"}} {total}\n'


def _one(name: str, kind: str, help_: str, value: float) -> str:
    return _family(name, kind, help_, [({}, value)])


def _family(name: str, kind: str, help_: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    full = f"engram_{name}_total" if kind == "counter" else f"engram_{name}"
    lines = [f"# HELP {full} {help_}", f"# TYPE {full} {kind}"]
    lines += [f"{full}{_labels(labels)} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
