"""Style as a test: what a reviewer would say every time, said by the machine once.

A generated file that is committed is listed in GENERATED; a test renders it again and compares.
"""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SHIPPED = ("streams", "processors", "schemas")
FOLDERS = (*SHIPPED, "infra", "dashboards", "tests")
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
# worker.py is the seven steps of a chunk, to be read in one sitting.
OWN_LIMITS = {"streams/worker.py": 150}
DRAWERS = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc", "base", "shared"}

# (generator, path): "module:function" returns the file's text, or for a folder {file name: text}.
GENERATED: tuple[tuple[str, str], ...] = (
    ("schemas.contract:generated", "schemas/generated"),
    ("dashboards.generate:generated", "dashboards/generated"),
)

SUFFIXES = (".py", ".md", ".toml", ".lock", ".yaml", ".yml", ".sql", ".lua", ".json", ".txt")
# Made by a run, never committed.
MADE = ("build/", ".stack/", ".venv/", "stack.env", "stack.json", "bench.json")
QUOTED = re.compile(r"`([^`\n]+)`|\]\(([^)\s]+)\)")
TARGET = re.compile(r"\bmake ([a-z0-9-]+)")


@cache
def modules() -> tuple[Path, ...]:
    return tuple(sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")))


def documents() -> list[Path]:
    named = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [path for path in (*named, *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")) if path.exists()]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its lines without its docstring's."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None or first.end_lineno is None:
        return lines
    return lines - (first.end_lineno - first.lineno + 1)


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{named(path)}:{function.lineno} {function.name}": length(function)
        for path in modules()
        for function in functions(path)
        if length(function) > FUNCTION_LINES_MAX
    }
    assert not long


def test_no_module_is_too_long() -> None:
    sizes = {named(path): len(path.read_text().splitlines()) for path in modules()}
    assert not {name: size for name, size in sizes.items() if size > OWN_LIMITS.get(name, MODULE_LINES_MAX)}


def test_no_module_is_a_drawer() -> None:
    assert not [named(path) for path in modules() if DRAWERS & {path.stem, path.parent.name}]


def test_every_folder_of_python_is_a_package() -> None:
    assert not {named(path.parent) for path in modules() if not (path.parent / "__init__.py").exists()}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_name_has_one_owner(name: str) -> None:
    """Packages called `schemas` and `processors` exist: installed over ours they replace files in silence."""
    owners = set(packages_distributions().get(name, []))
    assert owners <= {"memberflow"}
    assert Path(str(importlib.import_module(name).__file__)).is_relative_to(ROOT)


@pytest.mark.parametrize("document", documents(), ids=named)
def test_every_path_named_in_a_document_exists(document: Path) -> None:
    quoted = [a or b for a, b in QUOTED.findall(document.read_text())]
    paths = [word for text in quoted for word in text.split() if looks_like_a_path(word)]
    assert not [path for path in paths if not exists(path, document)]


def looks_like_a_path(word: str) -> bool:
    if "://" in word or any(mark in word for mark in "<>{}*$=,;()…") or word.startswith(("/", "-", "#")):
        return False
    return not word.startswith(MADE) and word.split("#")[0].endswith((*SUFFIXES, "/"))


def exists(word: str, document: Path) -> bool:
    path = word.split("#")[0]
    if (ROOT / path).exists() or (document.parent / path).exists():
        return True
    return "/" not in path and any(folder for name in (*FOLDERS, "docs") for folder in (ROOT / name).rglob(path))


@pytest.mark.parametrize("document", documents(), ids=named)
def test_every_make_target_named_in_a_document_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"`[^`\n]+`|^```.*?^```", document.read_text(), re.MULTILINE | re.DOTALL)
    assert not {name for text in code for name in TARGET.findall(text)} - targets


def test_every_generated_file_is_what_its_generator_writes() -> None:
    assert not [f"{path}: run {generator}" for generator, path in GENERATED if is_stale(generator, ROOT / path)]


def is_stale(generator: str, path: Path) -> bool:
    module, function = generator.split(":")
    made: str | dict[str, str] = getattr(importlib.import_module(module), function)()
    if isinstance(made, str):
        return not path.exists() or path.read_text() != made
    there = {file.name: file.read_text() for file in path.glob("*") if file.is_file()}
    return {name: there.get(name) for name in made} != made


def lock() -> dict[str, tuple[str, ...]]:
    """Versions by name; one name may have several, for different Pythons or systems."""
    versions: dict[str, tuple[str, ...]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", locked_text(), re.MULTILINE):
        key = canonicalize_name(name)
        versions[key] = (*versions.get(key, ()), version)
    return versions


def locked_text() -> str:
    return (ROOT / "requirements.lock").read_text()


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for group in project["optional-dependencies"].values() for text in group]
    wanted = [Requirement(text) for text in (*project["dependencies"], *extras)]
    return [it for it in wanted if it.name != project["name"]]


def test_the_lock_names_no_address() -> None:
    assert "://" not in locked_text()
    assert "index-url " not in locked_text().replace("--no-emit-index-url ", "")


def test_the_lock_has_a_hash_for_everything() -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", locked_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]


def test_the_lock_is_not_stale() -> None:
    """Offline: every declared requirement is locked at a version it allows (`make lock` mends it)."""
    versions = lock()
    stale = [
        str(it)
        for it in declared()
        if not any(it.specifier.contains(v, prereleases=True) for v in versions.get(canonicalize_name(it.name), ()))
    ]
    assert not stale


def test_make_help_lists_every_target() -> None:
    told = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = ["setup", "demo", "test", "check", "bench", "e2e", "stack-up", "stack-down", "lock", "help"]
    assert not [name for name in wanted if f"  make {name} " not in told]


def test_no_committed_file_names_a_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(rb"/(?:root|home/[a-z]+|Users/[a-z]+)/")
    files = [ROOT / name for name in listed.stdout.split("\0") if name and name != named(Path(__file__))]
    assert not [named(path) for path in files if path.is_file() and home.search(path.read_bytes())]


def test_this_python_is_one_that_is_supported() -> None:
    assert sys.version_info >= (3, 11)
