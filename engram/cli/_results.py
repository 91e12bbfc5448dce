"""Results as text: a table for a terminal, tab-separated lines for a pipe. `_commands` decides which."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engram.cli._json import fields, numbers, write
from engram.cli._text import duration, one_line, plural, printable, short_cid, size, utc, whole_name
from engram.record import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engram.wire import (
        ChallengeStatus,
        Hit,
        IndexStatus,
        KeyInfo,
        KeyRecord,
        KeyVersion,
        ModelStatus,
        NamespaceInfo,
        QueryResult,
        Record,
        ScrubStatus,
        StatusResult,
    )

_CELL = 400
"""Characters of a text or of metadata that are drawn; no terminal's line is longer."""


def hits_table(hits: Sequence[Hit], *, text: bool, width: int | None = None) -> str:
    """Draw what a query found."""
    from engram.cli._screen import Memory, draw, memories

    rows = [
        Memory(f"{hit.score:.4f}", _cell(hit.text) if text else None, hit.cid, _about(_place(hit), hit.metadata))
        for hit in hits
    ]
    return draw(memories("score", rows, width=width), width=width)


def hits_lines(hits: Iterable[Hit], *, text: bool) -> str:
    """Give a line a hit: score, CID, metadata as JSON, text, with tabs between."""
    return "\n".join(
        "\t".join([f"{hit.score:.6f}", hit.cid, write(hit.metadata, indent=None), *([_flat(hit.text)] if text else [])])
        for hit in hits
    )


def explained(result: QueryResult) -> dict[str, object]:
    """Give how a query was answered, for a document: its mode, and the steps of the search."""
    return {"mode": result.mode, "explain": [fields(step) for step in result.explain or []]}


def explanation(result: QueryResult) -> str:
    """Draw how a query was answered: the mode, then a line a step with the rows it left and its microseconds."""
    steps = result.explain or []
    cells = [("mode " + printable(result.mode), "rows left", "µs")]
    cells += [("  " + printable(step.name), f"{step.rows:,}", f"{step.us:,.1f}") for step in steps]
    name, rows, us = (max(len(row[column]) for row in cells) for column in range(3))
    return "\n".join(f"{cell[0]:<{name}}  {cell[1]:>{rows}}  {cell[2]:>{us}}" for cell in cells)


def records_table(records: Sequence[Record], *, first: int, width: int | None = None) -> str:
    """Draw a page of a list; `first` is the offset of its first record."""
    from engram.cli._screen import Memory, draw, memories

    rows = [
        Memory(f"{first + number:,}", _cell(record.text), record.cid, _about(_chunks(record), record.metadata))
        for number, record in enumerate(records)
    ]
    return draw(memories("#", rows, width=width), width=width)


def records_lines(records: Iterable[Record]) -> str:
    """Give a line a record: CID, metadata as JSON, text, with tabs between."""
    return "\n".join(
        "\t".join([record.cid, write(record.metadata, indent=None), _flat(record.text)]) for record in records
    )


def record_fields(record: Record) -> dict[str, object]:
    """Give a record for a document, its vector as numbers."""
    return fields(record) | {"vector": None if record.vector is None else numbers(record.vector)}


def record_text(record: Record, before: Sequence[tuple[str, str]] = (), *, terminal: bool) -> str:
    """Show one record, below the rows that go `before`: its text at the end, as it is on a terminal, else in a line."""
    rows = [*before, *_record_rows(record)]
    if record.vector is not None:
        rows.append(("vector", write(numbers(record.vector), indent=None)))
    if not terminal:
        return rows_lines([*rows, ("text", printable(record.text or ""))])
    text = "" if record.text is None else "\n\n" + printable(record.text, multiline=True)
    return rows_sheet(rows) + text


def key_rows(found: KeyRecord) -> list[tuple[str, str]]:
    """Give what is said of a key beside the memory that it names."""
    return [("key", printable(found.key)), ("set", f"{_when(found.set_unix_ms)}, position {found.position:,}")]


def keys_table(keys: Sequence[KeyInfo], *, width: int | None = None) -> str:
    """Draw keys and what they name."""
    from engram.cli._screen import Column, draw, fitting, table

    columns = [Column("key", "bold"), Column("names", "cyan"), Column("since", "dim")]
    rows = [[whole_name(info.key, _CELL), short_cid(info.cid), _when(info.set_unix_ms)] for info in keys]
    return draw(table(*fitting(columns, rows, width)), width=width)


def keys_lines(keys: Iterable[KeyInfo]) -> str:
    """Give a line a key: key, CID, time, with tabs between."""
    return "\n".join("\t".join([_flat(info.key), info.cid, _when(info.set_unix_ms)]) for info in keys)


def history_table(versions: Sequence[KeyVersion], *, width: int | None = None) -> str:
    """Draw what a key has named."""
    from engram.cli._screen import Column, draw, fitting, table

    columns = [
        Column("position", right=True),
        Column("named", "cyan"),
        Column("since", "dim"),
        Column("by", "dim"),
    ]
    rows = [
        [f"{version.position:,}", _version(version), _when(version.set_unix_ms), f"{printable(version.signer[:12])}…"]
        for version in versions
    ]
    return draw(table(*fitting(columns, rows, width)), width=width)


def history_lines(versions: Iterable[KeyVersion]) -> str:
    """Give a line a version: position, time, CID or -, signer, with tabs between."""
    return "\n".join(
        "\t".join([str(each.position), _when(each.set_unix_ms), each.cid or "-", printable(each.signer)])
        for each in versions
    )


def _version(version: KeyVersion) -> str:
    return "(removed)" if version.cid is None else short_cid(version.cid)


def _when(unix_ms: int) -> str:
    return utc(unix_ms * 1_000_000, "seconds")


def _record_rows(record: Record) -> list[tuple[str, str]]:
    """Give one record as names and values."""
    rows = [("cid", record.cid)]
    rows += [("content", record.content_cid)] if record.content_cid else []
    rows += [("model", f"{record.model_version}, {record.dim} numbers")]
    rows += [("chunks", _chunks(record))] if record.chunks else []
    rows += [("metadata", write(record.metadata, indent=None))]
    rows += [("same content", cid) for cid in record.others]
    return [(name, printable(value)) for name, value in rows]


def namespaces_table(namespaces: Sequence[NamespaceInfo], *, width: int | None = None) -> str:
    """Draw the namespaces."""
    from engram.cli._screen import Column, draw, table

    columns = [
        Column("name", "bold"),
        Column("records", right=True),
        Column("model", "cyan"),
        Column("dim", right=True),
        Column("id", "dim"),
    ]
    rows = (
        [whole_name(n.name, _CELL), f"{n.records:,}", one_line(n.model_version), str(n.dim), n.id[:12]]
        for n in namespaces
    )
    return draw(table(columns, rows), width=width)


def namespaces_lines(namespaces: Iterable[NamespaceInfo]) -> str:
    """Give a line a namespace: name, records, model, dimension, id, with tabs between."""
    return "\n".join(
        "\t".join([_flat(n.name), str(n.records), printable(n.model_version), str(n.dim), n.id]) for n in namespaces
    )


def status_rows(status: StatusResult) -> list[tuple[str, str]]:
    """Give a status as names and values."""
    model = status.model
    state: str = model.state
    if model.state == "fetching" and model.total_bytes:
        state = f"fetching, {size(model.done_bytes)} of {size(model.total_bytes)}"
    kernel = f", {model.kernel} kernel" if model.kernel else ""
    rows = [
        ("engram", f"{status.version}, {status.role}, up {duration(status.uptime_s)}"),
        ("records", f"{status.records:,} in {plural(status.namespaces, 'namespace')}{_of_chunks(status)}"),
        ("log", f"{plural(status.position, 'event')}, {size(status.log_bytes)}; bodies {size(status.bodies_bytes)}"),
        ("log root", status.log_root),
        ("model", f"{model.model_version}, {model.dim} numbers, {state}{kernel}"),
        *([("", model.message)] if model.message else []),
        *((f"model {other.name}", _model(other)) for other in status.models),
        ("public index", _index(status.index)),
        *([("challenges", said)] if (said := _challenges(status.challenges)) else []),
        ("writes waiting", f"{status.queue_length:,}"),
        ("disk", _scrub(status.scrub)),
        *(("damage", f"{each.file}, offset {each.offset:,}: {each.reason}") for each in status.scrub.damage),
        ("data folder", status.data_dir),
        ("node key", status.node_key),
    ]
    return [(name, printable(value)) for name, value in rows]


def _challenges(challenges: ChallengeStatus) -> str:
    """Say what has become of challenges of this node; nothing where there was none."""
    counts = {name: challenges[name] for name in challenges.__struct_fields__ if challenges[name]}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _index(index: IndexStatus) -> str:
    """Say what the public namespace is searched in: `117,659 rows in 1 sealed part and a head of 52,123, fast`."""
    sealed = f"{plural(index.sealed, 'sealed part')} and " if index.sealed else ""
    said = f"{plural(index.rows, 'row')} in {sealed}a head of {index.head_rows:,}, mode {index.mode}"
    if (recall := index.recall) is None:
        return said
    wider = f", looking {recall.widening} times as wide" if recall.widening > 1 else ""
    return f"{said}, recall {recall.recall:.4f} in {plural(recall.queries, 'replay')}{wider}"


def _scrub(scrub: ScrubStatus) -> str:
    """Say when all of it was read last, and how it was: `read whole 2026-11-21 20:15 UTC (1.2 GiB), nothing wrong`."""
    if scrub.state == "off":
        return "never read again for damage (scrub_mb_s = 0)"
    last = "not read whole yet"
    if scrub.last_pass_unix_ms:
        at = datetime.fromtimestamp(scrub.last_pass_unix_ms / 1000, UTC)
        last = f"read whole {at:%Y-%m-%d %H:%M} UTC ({size(scrub.last_pass_bytes)})"
    now = "" if scrub.state == "waiting" else f", reading the {scrub.state} at {size(scrub.checked_bytes)}"
    return f"{last}{now}, {f'{scrub.damages:,} damaged' if scrub.damages else 'nothing wrong'}"


def _model(model: ModelStatus) -> str:
    if model.state == "ready":
        return f"{model.model_version}, {model.dim} numbers, ready, {model.kernel}"
    return f"{model.state}: {model.message}" if model.message else model.state


def rows_lines(rows: Iterable[tuple[str, str]]) -> str:
    """Give a line a pair: name, tab, value."""
    return "\n".join(f"{name}\t{value}" for name, value in rows)


def rows_sheet(rows: Iterable[tuple[str, str]], *, width: int | None = None) -> str:
    """Draw names and values."""
    from engram.cli._screen import draw, sheet

    return draw(sheet(rows), width=width)


def _place(hit: Hit) -> str:
    """Say which part of a long text was found: `chunk 3, characters 812 to 1,690`."""
    if hit.chunk is None:
        return ""
    start, end = hit.chunk.span
    return f"chunk {hit.chunk.index:,}, characters {start:,} to {end:,}"


def _chunks(record: Record) -> str:
    return plural(record.chunks, "chunk") if record.chunks else ""


def _of_chunks(status: StatusResult) -> str:
    return f", {status.chunks:,} of them chunks of long texts" if status.chunks else ""


def _about(first: str, metadata: dict[str, object]) -> str:
    """Give what is said of a memory beside its CID; Engram's own keys are for programs."""
    line = metadata_line({key: value for key, value in metadata.items() if not key.startswith(OURS)})
    return " · ".join(part for part in (first, line) if part)


def metadata_line(metadata: dict[str, object]) -> str:
    """Give metadata on one line for the eye: `pos=noun · lemmas=cat, true cat`."""
    pairs = (f"{one_line(key, _CELL)}={one_line(_value(value), _CELL)}" for key, value in metadata.items())
    return one_line(" · ".join(pairs), _CELL)


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return write(value, indent=None)


def _cell(text: str | None) -> str:
    return "(a vector, no text)" if text is None else one_line(text, _CELL)


def _flat(text: str | None) -> str:
    return "" if text is None else printable(text)
