"""The layer rules: which modules may import which."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.workers.base.installation import EXTRAS
from tools import structure

pytestmark = pytest.mark.timeout(180)  # all of the code is parsed
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "castray_desktop"
# What an agent is made of: it runs on the standard library alone and on Python 3.9.
SHIPPED = (
    "workers/driver",
    "workers/agent",
    "core/content",
    "core/multicast",
    "core/protocol/nodes",
    "core/casts/transfer_options.py",
    "core/failures/kinds.py",
)
# What each folder may import besides itself and the package's version.
BELOW = {
    "core": (),
    "workers": ("core",),
    "ui": ("core", "workers"),
    "app": ("core", "workers", "ui"),
    "cli": ("core", "workers", "app"),
    "python": ("core", "workers", "cli"),
    "": ("python",),
    "__main__": ("cli",),
}
RAY_MODULES = ("ray_driver", "ray_connection", "head_probe", "ray_calls")


def modules(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def shipped() -> list[Path]:
    return [
        path for part in SHIPPED for path in ([PACKAGE / part] if part.endswith(".py") else modules(part))
    ]


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that the file imports, also inside functions and for type checking."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def loaded_by(code: str) -> set[str]:
    """The top-level modules that an interpreter has loaded after running this code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def offenders(paths: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports(path)
        if any(name == bad or name.startswith(bad + ".") for bad in forbidden)
    ]


def test_core_imports_no_other_layer_and_nothing_that_acts() -> None:
    forbidden = (
        *(f"castray_desktop.{layer}" for layer in ("workers", "ui", "cli", "app")),
        *(
            "PySide6",
            "qasync",
            "ray",
            "socket",
            "asyncio",
            "threading",
            "subprocess",
            "time",
            "random",
            "secrets",
        ),
    )
    assert offenders(modules("core"), forbidden) == []


def test_workers_know_neither_qt_nor_the_window_nor_the_command_line() -> None:
    forbidden = ("PySide6", "qasync", "pyqtgraph", *(f"castray_desktop.{x}" for x in ("ui", "cli", "app")))
    assert offenders(modules("workers"), forbidden) == []


def test_the_window_knows_core_and_the_client_alone() -> None:
    forbidden = ("castray_desktop.workers", "castray_desktop.cli", "ray", "qasync")
    found = offenders(modules("ui"), forbidden)
    assert [line for line in found if "castray_desktop.workers.client.engine_client" not in line] == []


def test_the_command_line_is_a_client() -> None:
    found = offenders(modules("cli"), ("ray", "PySide6", "qasync", "castray_desktop.ui"))
    assert found == []


def test_what_programs_use_is_a_client() -> None:
    found = offenders(modules("python"), ("ray", "PySide6", "qasync", "castray_desktop.ui"))
    assert found == []


def test_ray_is_imported_where_it_is_called_alone() -> None:
    others = [path for path in modules(".") if path.stem not in RAY_MODULES or path.parent.name != "driver"]
    assert offenders(others, ("ray",)) == []


@pytest.mark.parametrize(
    ("extra", "users", "others"),
    [
        ("window", ("app.py", "ui"), ("shiboken6",)),
        ("serve", ("workers/http_api",), ("starlette", "pydantic")),
        ("remote", ("workers/sources",), ()),
    ],
)
def test_an_extra_is_imported_where_it_is_needed_alone(
    extra: str, users: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """Everything else runs where the base alone is installed."""
    elsewhere = [
        path for path in modules(".") if not any(path.is_relative_to(PACKAGE / user) for user in users)
    ]
    assert offenders(elsewhere, (*EXTRAS[extra], *others)) == []


def test_what_is_shipped_imports_the_shipped_alone() -> None:
    """Agents run on machines where none of our packages is installed."""
    ours = tuple(f"castray_desktop.{part.removesuffix('.py').replace('/', '.')}" for part in SHIPPED)
    above = {name.rpartition(".")[0] for name in ours}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in shipped()
        for name in imports(path)
        if name.startswith("castray_desktop.") and not name.startswith(ours) and name not in above
    ]
    assert wrong == []


def test_an_agent_needs_the_standard_library_alone() -> None:
    """Without site-packages, everything that an agent needs can be imported."""
    parts = [path for path in shipped() if path.stem not in RAY_MODULES]
    code = ";".join(f"import {structure.module_name(path, ROOT)}" for path in parts)
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_shipped_is_valid_for_python_3_9() -> None:
    for path in shipped():
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_each_folder_says_what_it_is() -> None:
    """A folder is a subsystem: its `__init__.py` has a docstring."""
    silent = [
        str(path.parent.relative_to(ROOT))
        for path in modules(".")
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_module_binds_a_name_twice() -> None:
    assert {name: found for name, tree in trees().items() if (found := structure.rebound_names(tree))} == {}


@pytest.fixture(autouse=True, scope="module")
def trees_are_kept_for_this_module() -> Iterator[None]:
    yield
    trees.cache_clear()


@functools.cache
def trees() -> dict[str, ast.Module]:
    return structure.parse(structure.source_files(ROOT))


def test_no_modules_import_each_other() -> None:
    """There are no import cycles, also not under `TYPE_CHECKING`."""
    assert structure.cycles(graph()) == []


@functools.cache
def graph() -> dict[str, set[str]]:
    return structure.imports(trees())


def layer(module: str) -> str:
    """The folder, or the module beside the folders, that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


def test_folders_import_downward() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in sorted(targets)
        if layer(target) not in (*BELOW[layer(module)], layer(module), "")
    ]
    assert wrong == []


def test_each_class_name_is_used_once() -> None:
    assert structure.repeated_class_names(trees()) == {}


def test_each_file_name_is_used_once() -> None:
    assert structure.repeated_file_names(structure.source_files(ROOT)) == {}


def test_no_call_unpacks_a_literal() -> None:
    """`f(*(a, b), c)` only saves lines; a call with that many arguments lacks a context object."""
    literals = (ast.Tuple, ast.List, ast.Set)
    found = [
        f"{path.relative_to(ROOT)}:{argument.lineno}"
        for folder in (PACKAGE, ROOT / "tests", ROOT / "benchmarks", ROOT / "tools")
        for path in sorted(folder.rglob("*.py"))
        if re.search(r"\*[(\[{]", text := path.read_text())
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        for argument in call.args
        if isinstance(argument, ast.Starred) and isinstance(argument.value, literals)
    ]
    assert found == []


def test_opening_the_window_imports_nothing_heavy() -> None:
    """What the first paint waits for; pyqtgraph and numpy come after it."""
    heavy = {"ray", "numpy", "pyqtgraph", "rich"}
    assert not loaded_by("import castray_desktop.app") & heavy


def test_a_command_imports_nothing_of_the_window_or_the_api() -> None:
    """Every command starts Python: a command must not import what only others need."""
    heavy = {"ray", "numpy", "PySide6", "fastapi", "pydantic", "starlette", "uvicorn", "argcomplete"}
    code = "import castray_desktop.cli.command_runner, castray_desktop.cli.command_line as line; "
    assert not loaded_by(code + "line.command_parser()") & heavy
