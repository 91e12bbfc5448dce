"""Write the tables of docs/rpc.md from the Structs that the door decodes: methods, params, results, errors, limits.

Usage: python scripts/rpc_docs.py [--check]

What stands between `<!-- written … -->` and `<!-- end -->` is written, and the rest of the page is left as it is. With
--check nothing is written: the exit code is 1 where the page is not what would be. Types, defaults and bounds come from
the Structs, the words from their docstrings.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as kinds

from engram.errors import WIRE_ERRORS
from engram.limits import LIMITS, Limits
from engram.wire import METHODS, ErrorInfo

PAGE = Path(__file__).parents[1] / "docs" / "rpc.md"

_SECTION = re.compile(r"(<!-- written by scripts/rpc_docs\.py: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
_WHOLE_INT64 = (-(2**63), 2**63 - 1)


def written(page: str) -> str:
    """Give the page with its tables as they ought to be."""
    return _SECTION.sub(lambda found: found[1] + "\n" + _SECTIONS[found[2]]() + "\n" + found[3], page)


# -- sections ---------------------------------------------------------------------------------------------------------


def methods() -> str:
    """Give every method: what it does, its params, its result; then the Structs that those hold."""
    others: dict[str, type[msgspec.Struct]] = {}
    parts = []
    for name, (request, answer) in METHODS.items():
        parts += [f"### `{name}`", prose(request), table(request, "param"), f"Result: {link(answer)}"]
        for struct in (request, answer):
            collect(struct, others, itself=struct is answer)
    parts.append("## What they hold")
    for name, struct in sorted(others.items()):
        parts += [f"### {name}", prose(struct), table(struct, "field")]
    return "\n\n".join(filter(None, parts)) + "\n"


def errors() -> str:
    """Give every error code, its status in HTTP, and when it comes."""
    rows = [f"| `{code}` | {cls.http_status} | {prose(cls)} |" for code, cls in WIRE_ERRORS.items()]
    return "\n".join(["| code | HTTP | when, and what to do |", "|---|---|---|", *rows]) + "\n"


def error() -> str:
    """Give the fields of an error."""
    return table(ErrorInfo, "field") + "\n"


def limits() -> str:
    """Give the limits."""
    rows = [f"| `{name}` | {getattr(LIMITS, name):,} |" for name in Limits.__struct_fields__]
    return "\n".join(["| limit | at most |", "|---|---|", *rows]) + "\n"


_SECTIONS = {"methods": methods, "errors": errors, "error": error, "limits": limits}


# -- a Struct ---------------------------------------------------------------------------------------------------------


def table(struct: type[msgspec.Struct], what: str) -> str:
    """Give a Struct's fields, one a row."""
    fields = kinds.type_info(struct).fields  # type: ignore[attr-defined]
    if not fields:
        return "No params: `[{}]`." if what == "param" else "It is empty."
    words = field_docs(struct)
    rows = [
        f"| `{field.encode_name}` | {shown(field.type)}{nil(field)} | {default(field)} | {words.get(field.name, '')} |"
        for field in fields
    ]
    return "\n".join([f"| {what} | type | default | |", "|---|---|---|---|", *rows])


def prose(thing: type) -> str:
    """Give a docstring as one flow of text, a paragraph a line."""
    paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Give the docstring under each field that has one."""
    body = ast.parse(inspect.getsource(struct).lstrip()).body[0]
    assert isinstance(body, ast.ClassDef)
    docs, before = {}, None
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            before = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and before:
            docs[before] = " ".join(str(node.value.value).split()).replace("|", "\\|")
            before = None
    return docs


def nil(field: kinds.Field) -> str:
    """Say so where nil is a value of its own, and not only what is absent."""
    return " or nil" if unset(field) else ""


def unset(field: kinds.Field) -> bool:
    """Say whether a field that may be left out has no default at all."""
    return not field.required and field.default is field.default_factory is msgspec.NODEFAULT


def default(field: kinds.Field) -> str:
    """Say what a field is where it is left out."""
    if field.required:
        return "required"
    if unset(field):
        return "absent"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "absent"
    return f"`{json.dumps(msgspec.to_builtins(value))}`"


def collect(struct: type[msgspec.Struct], found: dict[str, type[msgspec.Struct]], *, itself: bool) -> None:
    """Collect the Structs that one holds, and itself if it is to be."""
    if itself:
        if struct.__name__ in found:
            return
        found[struct.__name__] = struct
    for kind in get_type_hints(struct, include_extras=False).values():
        for held in structs_in(kind):
            collect(held, found, itself=True)


def structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """Give the Structs in a type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [struct for part in getattr(kind, "__args__", ()) for struct in structs_in(part)]


# -- a type -----------------------------------------------------------------------------------------------------------


def shown(kind: kinds.Type) -> str:
    """Print a type as the page calls it."""
    match kind:
        case kinds.UnionType(types=types):
            return " or ".join(shown(each) for each in types if not isinstance(each, kinds.NoneType))
        case kinds.StructType(cls=cls):
            return link(cls)
        case kinds.ListType(item_type=item) | kinds.VarTupleType(item_type=item):
            most = f", at most {kind.max_length:,}" if kind.max_length is not None else ""
            return f"array of {shown(item)}{most}"
        case kinds.TupleType(item_types=items):
            return f"array of {len(items)} {shown(items[0])}"
        case kinds.IntType(ge=least, le=most):
            return "int" if (least, most) in (_WHOLE_INT64, (None, None)) else f"int, {least} to {most}"
        case kinds.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
    return _NAMES[type(kind)]


def link(struct: type) -> str:
    """Point to a Struct's place on the page."""
    return f"[{struct.__name__}](#{struct.__name__.lower()})"


_NAMES: dict[type, str] = {
    kinds.StrType: "str",
    kinds.BytesType: "bin",
    kinds.FloatType: "float",
    kinds.BoolType: "bool",
    kinds.DictType: "map",
    kinds.AnyType: "any",
}


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page would change")
    options = parser.parse_args()
    page = PAGE.read_text()
    ought = written(page)
    if options.check:
        print("as it ought to be" if page == ought else f"not as it ought to be: run {Path(__file__).name}")
        return int(page != ought)
    PAGE.write_text(ought)
    return 0


if __name__ == "__main__":
    sys.exit(main())
