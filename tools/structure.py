"""Measure the structure of the package: sizes of modules and functions, import cycles, repeated names.

Run `python -m tools.structure [FOLDER]`; FOLDER is a checkout, by default this one. The functions are what
`tests/test_architecture.py` checks the rules with.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "castray_desktop"

Trees = Mapping[str, ast.Module]
Graph = Mapping[str, set[str]]


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a source file below `root`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files(root: Path) -> dict[str, Path]:
    """Each module of the package in the checkout `root`, by dotted name."""
    return {module_name(path, root): path for path in sorted((root / PACKAGE).rglob("*.py"))}


def parse(files: Mapping[str, Path]) -> dict[str, ast.Module]:
    """The syntax tree of each module."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}


def imports(trees: Trees) -> dict[str, set[str]]:
    """Which modules of the package each module imports, anywhere in it, also under `TYPE_CHECKING`."""
    graph: dict[str, set[str]] = {}
    for name, tree in trees.items():
        found = {target for node in ast.walk(tree) for target in _imported(node, trees)}
        graph[name] = found - {name}
    return graph


def _imported(node: ast.AST, trees: Trees) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in trees)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            if submodule in trees:
                yield submodule
            elif node.module in trees:
                yield node.module


def cycles(graph: Graph) -> list[list[str]]:
    """The groups of modules that import each other (Tarjan's strongly connected components), sorted."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], index[target])
        if lowest[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10 * len(graph) + 1000))
    try:
        for name in sorted(graph):
            if name not in index:
                visit(name)
    finally:
        sys.setrecursionlimit(limit)
    return sorted(found)


def repeated_file_names(files: Mapping[str, Path]) -> dict[str, list[str]]:
    """File names that several modules share, with these modules; `__init__.py` does not count."""
    names = defaultdict(list)
    for module, path in files.items():
        if path.name != "__init__.py":
            names[path.name].append(module)
    return {name: modules for name, modules in names.items() if len(modules) > 1}


def repeated_class_names(trees: Trees) -> dict[str, list[str]]:
    """Names of public top-level classes that several modules define, with these modules."""
    names = defaultdict(list)
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names[node.name].append(module)
    return {name: modules for name, modules in names.items() if len(modules) > 1}


def rebound_names(tree: ast.Module) -> list[str]:
    """Names that a module binds more than once at its top level: the last one replaces the others."""
    seen: set[str] = set()
    found = []
    for name in (name for node in tree.body for name in _bound(node)):
        if name in seen:
            found.append(name)
        seen.add(name)
    return found


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        if not any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list):
            yield node.name
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            for each in ast.walk(target):
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    yield each.id
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names if alias.name != "*")


def function_lengths(trees: Trees) -> list[int]:
    """The lines of every function and method, decorators and docstrings included."""
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def _spread(lengths: list[int]) -> str:
    deciles = statistics.quantiles(lengths, n=10)
    return f"median {statistics.median(lengths):g}, 90th percentile {deciles[-1]:g}, largest {max(lengths)}"


def main(arguments: list[str]) -> None:
    """Print the figures of a checkout."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    files = source_files(root)
    trees = parse(files)
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files.items()}
    modules = [count for name, count in lines.items() if files[name].name != "__init__.py"]
    print(f"lines: {sum(lines.values())}")
    print(f"modules without __init__.py: {len(modules)}; lines: {_spread(modules)}")
    print(f"functions: {len(function_lengths(trees))}; lines: {_spread(function_lengths(trees))}")
    print(f"largest module: {max(lines, key=lambda name: lines[name])}")
    found = cycles(imports(trees))
    print(f"import cycles: {len(found)}", *(", ".join(group) for group in found), sep="\n  ")
    repeated = repeated_file_names(files)
    print(f"file names used twice: {len(repeated)}", *sorted(repeated), sep="\n  ")
    classes = repeated_class_names(trees)
    print(f"class names used twice: {len(classes)}", *sorted(classes), sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
