"""What must hold after any simulation, judged by what the clients saw and by the log that is left, read by the oracle.

Every call that was answered says something of the log: a write, that its event stands at its position; a read, which
prefix of the log it speaks for. Since positions are total, each claim is checked against the fold of that prefix:

- acknowledged => there: the event, the body, byte for byte what was put; a long text whole
- nothing invented: no event, no body that no client asked for; no more deletions than were tried
- positions never go back, neither within a life nor over crashes
- a get, a list, a query tell what lives in the prefix, and a query's order is that of a brute-force search
- the tables are what folding the log anew gives
"""

from __future__ import annotations

import math
import operator
from array import array
from typing import TYPE_CHECKING

from engram import wire
from engram.errors import EngramError
from engram.testing import _plan as plan
from engram.testing._client import NoAnswer
from engram.testing._embedder import vector_of
from engram.testing._erasing import check_erased, erases
from engram.testing._image import Life, LogImage, check_events, content_of, plain_metadata, space_of
from engram.testing._keys import Keys
from engram.testing._oracle import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engram.testing._history import Call
    from engram.testing._plan import Memory

CRASHING = "tally"
"""The plug-in that is made to crash, alone."""
WRITE_QUEUE = 64
"""The memories that may wait to be written, as nodes are configured here."""
_SCORE_ERROR = 1e-5
_ABOUT_NONE = (wire.List, wire.NamespaceCreate, wire.Status, wire.Actors, wire.KeyGet, wire.KeyDelete, wire.History)
"""Requests that are in order and are about no memory."""
_MAY_BE_REFUSED = {"busy", "unavailable", "model_not_ready", "deadline"}
_BAD_REFUSED = {"bad_request", "unprocessable", "not_found", "too_large", "unknown_method"}


def check_history(calls: Sequence[Call], memories: Sequence[Memory], files: Mapping[str, bytes], folder: str) -> None:
    """Check every call against the log in `folder`. Raises `Violation`."""
    log = LogImage(files, folder, memories)
    check_erased(files, folder, memories)
    known = {memory.number: memory for memory in memories}
    check_events(log, calls, known)
    keys = Keys(log)
    keys.check_asked(calls)
    ordered = [call for call in calls if call.ended]
    lower = _lower_bounds(ordered)
    upper = _upper_bounds(ordered, log.size)
    for call in ordered:
        window = range(lower[call.began], upper[call.ended] + 1)
        if getattr(call.request, "key", None) is not None:
            keys.check(call, window)
        match call.outcome:
            case EngramError() as error:
                _check_error(call, error, known, log, window)
            case NoAnswer(late=True) if call.life == call.life_ended:
                raise Violation(f"{call.who}: a {call.request.method} was never answered, by a node that lived on")
            case NoAnswer():
                pass
            case _:
                _check_answer(call, known, log, window)


# -- what the calls say -----------------------------------------------------------------------------------------------


def claimed(call: Call) -> int:
    """Give the size that the log is known to have had when this call was answered."""
    match call.answer:
        case wire.PutResult(position=position) | wire.DeleteResult(position=position):
            return position + 1
        case wire.KeyResult(position=position) | wire.KeyRecord(position=position):
            return position + 1
        case wire.HistoryResult(position=position):
            return position
        case wire.PutManyResult(items=items, position=position) if any(item.cid for item in items):
            return position + 1
        case wire.QueryResult(position=position) | wire.ListResult(position=position):
            return position
        case wire.StatusResult(position=position):
            return position
    return 0


def _lower_bounds(calls: Sequence[Call]) -> dict[int, int]:
    """Give, for each call's beginning, the log's least size then: what any call had been told before."""
    ends = sorted((call.ended, claimed(call)) for call in calls)
    bounds, size, at = {}, 0, 0
    for began in sorted(call.began for call in calls):
        while at < len(ends) and ends[at][0] < began:
            size = max(size, ends[at][1])
            at += 1
        bounds[began] = size
    return bounds


def _upper_bounds(calls: Sequence[Call], size: int) -> dict[int, int]:
    """Give, for each call's end, the log's greatest size then: no event of what began later."""
    later = sorted(((call.began, _appended(call)) for call in calls), reverse=True)
    bounds, at = {}, 0
    for ended in sorted((call.ended for call in calls), reverse=True):
        while at < len(later) and later[at][0] > ended:
            size = min(size, later[at][1])
            at += 1
        bounds[ended] = size
    return bounds


def _appended(call: Call) -> int:
    match call.answer:
        case wire.DeleteResult(position=position) if not erases(call):
            return position
        case wire.PutResult(position=position, created=True) | wire.KeyResult(position=position, created=True):
            return position
    return 1 << 62


def _check_error(call: Call, error: EngramError, known: Mapping[int, Memory], log: LogImage, window: range) -> None:
    if error.code in _MAY_BE_REFUSED:
        return
    if not call.memories and not isinstance(call.request, _ABOUT_NONE):
        if error.code not in _BAD_REFUSED:
            raise Violation(f"{call.who}: a bad request was answered {error.code}: {error}")
        return
    if getattr(call.request, "key", None) is not None and _is_about_keys(call, error):
        return  # `Keys` looks at these
    space = space_of(call)
    absent = log.created.get(space, 1 << 62) >= window.start
    if error.code == "not_found" and error.field == "namespace":
        if not (absent):
            raise Violation(f"{call.who}: the namespace {plan.SPACES[space]!r}, which is there, was not found")
    elif error.code == "not_found" and isinstance(call.request, wire.Get | wire.Delete):
        life = log.records.get((space, call.request.cid))
        gone = life is None or any(life.at(size) is None for size in _moments(life, window))
        if life is not None and erases(call):
            gone = life.positions[0] >= window.start  # what was there once can be erased
        if not (gone):
            raise Violation(f"{call.who}: {call.request.cid}, which lives, was not found ({_named(call, known)})")
    else:
        raise Violation(f"{call.who}: {call.request.method} {_named(call, known)} was answered {error.code}: {error}")


def _is_about_keys(call: Call, error: EngramError) -> bool:
    return error.code == "conflict" or (error.field in ("key", "cid") and not isinstance(call.request, wire.Put))


def _moments(life: Life, window: range) -> list[int]:
    """Give the sizes of the log within a window between which a record may have changed."""
    changes = [position + 1 for position in life.positions if window.start < position + 1 < window.stop]
    return [window.start, *changes]


def _named(call: Call, known: Mapping[int, Memory]) -> str:
    return ", ".join(f"memory {number} ({known[number].kind})" for number in call.memories)


def _check_answer(call: Call, known: Mapping[int, Memory], log: LogImage, window: range) -> None:
    match call.answer:
        case wire.PutResult() as put:
            _check_kept(call, known[call.memories[0]], put.cid, log, window)
            if isinstance(call.request, wire.Put) and call.request.key is not None:
                return  # the position is the key's
            _check_position(call, log, put.position, "record_stored.1", put.cid, window, created=put.created)
        case wire.PutManyResult() as many:
            for number, item in zip(call.memories, many.items, strict=True):
                if item.cid is not None:
                    _check_kept(call, known[number], item.cid, log, window)
                else:
                    assert item.error is not None
                    error = item.error
                    if error.code not in _MAY_BE_REFUSED:
                        raise Violation(f"{call.who}: memory {number} was refused: {error}")
        case wire.DeleteResult() as gone:
            erase = erases(call)
            _check_position(call, log, gone.position, "record_deleted.1", gone.cid, window, created=not erase)
            if gone.erased != erase:
                raise Violation(f"{call.who} was told that {gone.cid} is {'not ' * erase}erased")
        case wire.Record() as got:
            _check_got(call, known[call.memories[0]], got, log, window)
        case wire.QueryResult() as found:
            _check_speaks_for(call, found.position, window)
            _check_query(call, known[call.memories[0]], found, log)
        case wire.ListResult() as page:
            _check_speaks_for(call, page.position, window)
            _check_list(call, page, log)
        case wire.StatusResult() as status:
            _check_speaks_for(call, status.position, window)
            if all((status.records, status.chunks) != log.counts[size] for size in window if size <= log.size):
                raise Violation(
                    f"{call.who} was told of {status.records} records, {status.chunks} of them chunks, and at no time "
                    f"of {window} were there so many"
                )
            if status.queue_length > WRITE_QUEUE:
                raise Violation(f"{status.queue_length} memories wait to be written; the limit is {WRITE_QUEUE}")
        case wire.ActorsResult() as actors:
            _check_actors(call, actors)
        case wire.NamespaceInfo() as space:
            position = log.created.get(plan.SPACES.index(space.name), -1)
            if not (position == space.position):
                raise Violation(f"the namespace {space.name!r} was created, and is lost")


def _check_actors(call: Call, answer: wire.ActorsResult) -> None:
    for actor in answer.actors:
        if actor.waiting > actor.mailbox_limit:
            raise Violation(f"{actor.waiting} messages wait for the {actor.name}; its limit is {actor.mailbox_limit}")
    for letter in answer.dead_letters:
        if letter.actor != CRASHING:
            raise Violation(f"{call.who} was shown a dead letter: {letter}")


def _check_kept(call: Call, memory: Memory, cid: str, log: LogImage, window: range) -> None:
    life = log.records.get((memory.space, cid))
    lived = life is not None and any(life.at(size) is not None for size in _moments(life, window))
    if not (lived):
        raise Violation(f"{call.who} was told that memory {memory.number} is kept as {cid}, and it is lost")
    if not (
        content_of(memory)
        == (memory.space, log.payloads[cid].text or log.payloads[cid].vector.hex(), plain_metadata(log.payloads[cid]))
    ):
        raise Violation(f"{call.who}: memory {memory.number} is kept as {cid}, which holds something else")


def _check_position(
    call: Call, log: LogImage, position: int, kind: str, cid: str, window: range, *, created: bool
) -> None:
    event = log.events[position] if position < log.size else None
    fits = event is not None and event.type == kind and event.fields["cid"] == cid
    if not (fits):
        raise Violation(f"{call.who} was told of {kind} of {cid} at {position}, and there is {event}")
    if not (not created or position >= window.start):
        raise Violation(f"positions go back: {position} was given after {window.start - 1} had been")


def _check_speaks_for(call: Call, position: int, window: range) -> None:
    asked: int = getattr(call.request, "min_position", 0)
    if position < asked:
        raise Violation(f"{call.who}: a {call.request.method} speaks for {position} events, and {asked} were asked for")
    if position not in window:
        raise Violation(f"{call.who}: a {call.request.method} speaks for {position} events, out of {window}")


def _check_got(call: Call, memory: Memory, got: wire.Record, log: LogImage, window: range) -> None:
    life = log.records.get((memory.space, got.cid))
    lived = life is not None and any(life.at(size) is not None for size in _moments(life, window))
    if not (lived):
        raise Violation(f"{call.who} got memory {memory.number}, {got.cid}, which did not live")
    given = {key: value for key, value in got.metadata.items() if not key.startswith("engram.")}
    if not (
        (got.text, given, got.vector, got.chunks)
        == (memory.text, memory.metadata, memory.stored_vector(), len(memory.chunks))
    ):
        raise Violation(f"{call.who} got memory {memory.number}, {got.cid}, and it is not what was put: {got}")


def _check_list(call: Call, page: wire.ListResult, log: LogImage) -> None:
    expected = [cid for _, cid in log.living(space_of(call), page.position)]
    found = [record.cid for record in page.records]
    if not (found == expected):
        raise Violation(f"{call.who}: a list at {page.position} has {_differs(found, expected)}")
    for record in page.records:
        payload = log.payloads[record.cid]
        if not ((record.text, record.metadata) == (payload.text, payload.metadata)):
            raise Violation(f"{call.who}: a list has {record.cid}, and not as it was put")


def _differs(found: Sequence[str], expected: Sequence[str]) -> str:
    more, less = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    return f"what does not live: {more}; it lacks what does: {less}" if more or less else "another order"


def _check_query(call: Call, memory: Memory, found: wire.QueryResult, log: LogImage) -> None:
    assert isinstance(call.request, wire.Query)
    wanted = memory.vector or vector_of(memory.text or "")
    best = _brute_force(log, memory.space, found.position, wanted, filtered=call.request.filter is not None)
    expected = sorted(best.items(), key=lambda item: -item[1])[: call.request.top_k]
    scores = [score for _, score in expected]
    given = [hit.score for hit in found.hits]
    what = f"{call.who}: a query at {found.position}"
    if not (len(given) == len(scores)):
        raise Violation(f"{what} has {len(given)} hits, and {len(scores)} live")
    if not (all(abs(one - other) < _SCORE_ERROR for one, other in zip(given, scores, strict=True))):
        raise Violation(f"{what} has the scores {given}, and they are {scores}")
    for hit in found.hits:
        true = best.get(hit.cid)
        if not (true is not None and abs(hit.score - true) < _SCORE_ERROR):
            raise Violation(f"{what} gives {hit.cid} {hit.score}, and it is {true}")


def _brute_force(log: LogImage, space: int, size: int, wanted: bytes, *, filtered: bool) -> dict[str, float]:
    """Give the cosine of every record that a query may find, of a long text that of its nearest chunk."""
    best: dict[str, float] = {}
    for _, cid in log.living(space, size):
        payload = log.payloads[cid]
        if payload.document or (filtered and not payload.metadata["odd"]):
            continue
        named = payload.parent or cid
        best[named] = max(best.get(named, -2.0), _cosine(wanted, payload.vector))
    return best


def _cosine(one: bytes, other: bytes) -> float:
    a, b = array("f", one), array("f", other)
    return _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    product: float = sum(map(operator.mul, a, b))
    return product
