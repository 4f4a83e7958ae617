"""The reference pages of the site, as Markdown: commands from their parser, the HTTP API from its OpenAPI
document, and Python from its source.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from castray_desktop.cli.command_line import command_parser
from tools import manual

PACKAGE = Path(__file__).resolve().parent.parent / "castray_desktop"

FORMS = (
    "ResultForm",
    "CastForm",
    "DeliveryForm",
    "CastClusterForm",
    "LinksForm",
    "MulticastForm",
    "NodeForm",
)
"""The classes of `core/casts/json_views.py` that methods of `Cluster` return."""


# --- commands


def command_page() -> str:
    """Every command with its arguments, options and examples."""
    parser = command_parser()
    lines = [
        "# Command reference",
        "",
        "Made from the parser of the command line; `castray COMMAND --help` prints the same. The "
        "[user guide](user-guide.md#send-from-the-command-line) explains the commands.",
        "",
        "Without a command, `castray [FILE...]` opens the window with these files in its list.",
        "",
        *_actions(parser),
        *_code(manual.examples(parser)),
    ]
    for command in manual.commands(parser):
        lines += [f"## {command.prog}", "", _escape(command.description or ""), ""]
        lines += _code(_wrap(command.prog + manual.arguments(command)))
        lines += [*_actions(command), *_code(manual.examples(command))]
    lines += ["## Environment", "", *_table(("variable", "meaning"), _named(manual.ENVIRONMENT))]
    lines += ["## Files", "", *_table(("file", "meaning"), _named(manual.FILES))]
    lines += ["## Exit status", "", *_code(manual.exit_statuses(parser))]
    return "\n".join(lines)


def _actions(parser: Any) -> list[str]:
    rows = []
    for action in manual.visible_actions(parser):
        value = manual.value_name(action)
        names = [f"{name} {value}".strip() for name in action.option_strings] or [value]
        rows.append((", ".join(f"`{name}`" for name in names), _escape(manual.help_text(action))))
    return _table(("argument", "meaning"), rows) if rows else []


def _named(texts: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`", _escape(text)) for name, text in texts.items()]


# --- HTTP


def http_document() -> dict[str, Any]:
    """The OpenAPI document of the HTTP API."""
    # They load slowly, and no other page needs them.
    from castray_desktop.workers.http_api.access_control import AllowedHosts
    from castray_desktop.workers.http_api.api_app import ApiApp

    class NoEngine:
        """An engine that is never asked: only the routes are looked at."""

    app = ApiApp(NoEngine(), "", AllowedHosts("127.0.0.1"))  # type: ignore[arg-type]
    return app.framework.openapi()


def http_page(document: dict[str, Any]) -> str:
    """Every request of the HTTP API, and every object in requests and answers."""
    lines = [
        "# HTTP reference",
        "",
        f"Made from the OpenAPI document of version {document['info']['version']}, "
        "which `castray serve` has at `/openapi.json` and which is [here](openapi.json) too. "
        "[From programs](api.md#http) explains how to use it.",
        "",
        document["info"]["description"],
        "",
    ]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).extend(_operation(method.upper(), path, operation))
    for tag, operations in groups.items():
        lines += [f"## {tag.capitalize()}", "", *operations]
    lines += ["## Objects", "", "Every field is always present in answers; what is unknown is null.", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"### {method} {path}", ""]
    lines += [_sentence(operation.get("summary", "")), "", operation.get("description", ""), ""]
    rows = [
        (
            f"`{one['name']}`",
            one["in"] + (", required" if one.get("required") else ""),
            _type(one.get("schema", {})),
            _escape(one.get("description", "")),
        )
        for one in operation.get("parameters", ())
    ]
    if rows:
        lines += _table(("parameter", "in", "type", "meaning"), rows)
    if body := operation.get("requestBody"):
        lines += [f"Body: {', '.join(_content(body))}", ""]
    done = [
        f"{status}: {', '.join(_content(answer)) or 'no body'}"
        for status, answer in operation["responses"].items()
        if status.startswith("2")
    ]
    lines += ["Answer " + "; ".join(done) + ". Others are a [ProblemForm](#problemform).", ""]
    return lines


def _content(part: dict[str, Any]) -> Iterator[str]:
    for media, content in part.get("content", {}).items():
        kind = _type(content.get("schema", {}))
        yield kind if media == "application/json" else f"`{media}`"


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    lines = [f"### {name}", "", schema.get("description", ""), ""]
    if "enum" in schema:
        return [*lines, "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".", ""]
    required = schema.get("required", ())
    rows = [
        (
            f"`{field}`",
            _type(kind),
            "required" if field in required else _default(kind),
            _escape(kind.get("description", "")),
        )
        for field, kind in schema.get("properties", {}).items()
    ]
    return [*lines, *(_table(("field", "type", "default", "meaning"), rows) if rows else [])]


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`" if "default" in schema else ""


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in words, with a link to the object if it is one."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for many in ("anyOf", "oneOf", "allOf"):
        if many in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[many])))
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of {_type(values)}"
    return str(kind)


# --- Python


def python_page() -> str:
    """`castray_desktop.connect`, what it returns, and what its methods return, with their docstrings."""
    tree = ast.parse((PACKAGE / "python" / "cluster_handle.py").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    lines = [
        "# Python reference",
        "",
        "Made from docstrings. [From programs](api.md#python) explains how to use it.",
        "",
        "```{py:module} castray_desktop",
        "```",
        "",
        "## Functions",
        "",
        *_directive("function", functions["connect"]),
        "## Cluster",
        "",
        *_class(classes["Cluster"]),
        "## Errors",
        "",
        *_class(classes["CommandFailed"], "exception"),
        "## Results",
        "",
    ]
    source = (PACKAGE / "core" / "casts" / "json_views.py").read_text()
    forms = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    for name in FORMS:
        lines += _form(forms[name], source.splitlines())
    return "\n".join(lines)


def _class(node: ast.ClassDef, kind: str = "class") -> list[str]:
    """A class with its public methods, without its constructor: `connect` makes it."""
    lines = [f"````{{py:{kind}}} {node.name}", *_docstring(node), ""]
    for name, text in _attributes(node):
        lines += [f"```{{py:attribute}} {name}", text, "```", ""]
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            lines += _directive("method", method, skip_first=True)
    return [*lines, "````", ""]


def _directive(kind: str, node: ast.FunctionDef, *, skip_first: bool = False) -> list[str]:
    answer = ast.unparse(node.returns) if node.returns else "None"
    if any(ast.unparse(one) == "property" for one in node.decorator_list):
        return [f"```{{py:property}} {node.name}", f":type: {answer}", *_docstring(node), "```", ""]
    arguments = ast.unparse(node.args)
    if skip_first:
        arguments = arguments.partition(", ")[2]
    return [f"```{{py:{kind}}} {node.name}({arguments}) -> {answer}", *_docstring(node), "```", ""]


def _docstring(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    return ["", *(ast.get_docstring(node) or "").splitlines(), ""]


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Attributes that a constructor sets and explains with a text below."""
    for method in node.body:
        body = method.body if isinstance(method, ast.FunctionDef) else []
        for place, text in pairwise(body):
            if (
                isinstance(place, ast.AnnAssign)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                yield ast.unparse(place.target).removeprefix("self."), str(text.value.value)


def _form(node: ast.ClassDef, source: list[str]) -> list[str]:
    """A struct: its fields with their types, and the comments beside them."""
    rows = [
        (
            f"`{ast.unparse(field.target)}`",
            f"`{ast.unparse(field.annotation)}`",
            _escape(source[field.lineno - 1].partition("  # ")[2]),
        )
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    ]
    lines = [f"````{{py:class}} {node.name}", *_docstring(node)]
    lines += _table(("field", "type", "meaning"), rows)
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method):
            lines += _directive("method", method, skip_first=True)
    return [*lines, "````", ""]


# --- Markdown


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def _wrap(usage: str) -> str:
    """A usage on several lines, each option on the line of its value."""
    parts = re.findall(r"\[[^\]]*\](?: \.\.\.)?|\S+", usage)
    joined = " ".join(part.replace(" ", "\0") for part in parts)
    lines = textwrap.wrap(joined, 80, subsequent_indent=" " * 4, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _code(text: str) -> list[str]:
    lines = textwrap.dedent(text.strip("\n")).splitlines()
    return ["```text", *lines, "```", ""] if lines else []


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)


def _sentence(text: str) -> str:
    return f"{text}." if text and not text.endswith(".") else text
