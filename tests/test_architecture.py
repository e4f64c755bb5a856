"""Dependencies point one way, nothing light drags in torch, and files stay short."""

import ast
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dualcoop

ROOT = Path(dualcoop.__file__).parent
MAX_LINES = 350

# Units, that is modules and packages directly under dualcoop, lowest layer first; a new one needs its name here.
# Each may import the layers below it; members of one layer each other, but never in a circle, not even by imports that
# are deferred or for types alone.
LAYERS = (
    ("errors", "lazy", "version", "files", "counting", "checks", "options"),
    ("functional", "data", "evaluation", "cache", "class_names", "devices", "tensor_marks"),
    ("inference", "baselines"),
    ("backbones",),
    ("prompts",),
    ("network",),
    ("features", "saving", "export"),
    ("training",),
    ("methods",),
    ("explain",),
    ("demo",),
    ("cli", "__main__"),
)
# These stand on their own feet: they import nothing of the package but what is named here.
INDEPENDENT = {
    "errors": set(),
    "lazy": set(),
    "version": set(),
    "files": set(),
    "counting": set(),
    "checks": {"errors"},
    "options": {"errors"},
    "functional": {"errors", "checks"},
    "cache": {"errors", "checks", "files", "counting"},
    "data": {"errors", "checks", "counting", "files", "lazy", "options"},
    "evaluation": {"errors", "checks", "counting"},
    "class_names": {"errors"},
    "devices": {"errors"},
    "tensor_marks": set(),
    "inference": {"errors", "checks", "counting", "data", "class_names"},
    "baselines": {"errors", "evaluation"},
    "backbones": {"errors", "inference", "devices", "tensor_marks"},
}
WITHOUT_TORCH = (
    "dualcoop",
    "dualcoop.errors",
    "dualcoop.cache",
    "dualcoop.data",
    "dualcoop.evaluation",
    "dualcoop.baselines",
    "dualcoop.inference.images",
    "dualcoop.inference.predictor",
    "dualcoop.export",
    "dualcoop.export.tagger",
    "dualcoop.features",
    "dualcoop.training",
    "dualcoop.training.arguments",
    "dualcoop.training.callbacks",
    "dualcoop.cli",
    "dualcoop.cli.app",
    *(
        f"dualcoop.cli.commands.{name}"
        for name in ("cache", "demo", "evaluate", "explain", "export", "info", "tag", "train")
    ),
)


@dataclass(frozen=True)
class Import:
    """One import of this package: the module, and whether it happens when the importing module is loaded."""

    target: str
    at_load: bool


def imports_of(source: str, module: str, is_package: bool, known: set[str]) -> set[Import]:
    """Modules of the package that a source file imports, wherever the import statement stands."""
    found = set()

    def visit(node: ast.AST, at_load: bool) -> None:
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in known else base for name in submodules]
        else:
            targets = []
        found.update(Import(name, at_load) for name in targets if name.split(".")[0] == "dualcoop")
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            deferred = True
        for child in ast.iter_child_nodes(node):
            visit(child, at_load and not deferred)

    visit(ast.parse(source), True)
    return found


def all_sources() -> dict[str, Path]:
    """Source file of every module, by dotted name."""
    sources = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return sources


SOURCES = all_sources()
IMPORTS = {
    name: imports_of(path.read_text(encoding="utf-8"), name, path.name == "__init__.py", set(SOURCES))
    for name, path in SOURCES.items()
}
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}


def unit_of(module: str) -> str:
    return module.split(".")[1]


def edges() -> list[tuple[str, str]]:
    """(importer, imported) between different units; the lazy front door `dualcoop` itself is no unit."""
    return [
        (name, imported.target)
        for name, imports in IMPORTS.items()
        for imported in imports
        if name != "dualcoop" and imported.target != "dualcoop" and unit_of(name) != unit_of(imported.target)
    ]


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    """Nodes of a circle, its first once more at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_unit_has_one_place_in_the_layers_and_every_place_a_unit():
    named = [unit for layer in LAYERS for unit in layer]
    assert Counter(named) == Counter({unit_of(name) for name in SOURCES if name != "dualcoop"})


def test_what_is_named_here_is_there():
    assert set(WITHOUT_TORCH) - set(SOURCES) == set()
    assert (set(INDEPENDENT) | set().union(*INDEPENDENT.values())) - set(LEVEL) == set()


def test_units_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {unit: set() for unit in LEVEL}
    for importer, imported in edges():
        graph[unit_of(importer)].add(unit_of(imported))
    assert circle_of(graph) == []


def test_no_module_imports_from_a_layer_above():
    upward = [edge for edge in edges() if LEVEL[unit_of(edge[0])] < LEVEL[unit_of(edge[1])]]
    assert upward == []


def test_independent_packages_import_nothing_else():
    strays = [
        (importer, imported)
        for importer, imported in edges()
        if unit_of(importer) in INDEPENDENT and unit_of(imported) not in INDEPENDENT[unit_of(importer)]
    ]
    assert strays == []


def test_modules_load_in_no_circle():
    assert circle_of({name: {i.target for i in imports if i.at_load} for name, imports in IMPORTS.items()}) == []


@pytest.mark.parametrize(
    ("graph", "circle"),
    [({"a": {"b"}, "b": {"c"}, "c": set()}, []), ({"a": {"b"}, "b": {"a"}}, ["a", "b"]), ({"a": {"a"}}, ["a"])],
)
def test_the_finder_of_circles_finds_them(graph, circle):
    assert sorted(set(circle_of(graph))) == circle


def test_only_the_version_is_taken_from_the_front_door():
    """Names exported by `dualcoop` live higher up; inside the package they are imported from their homes."""
    taken = {
        (name, alias.name)
        for name, path in SOURCES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "dualcoop" and not node.level
        for alias in node.names
        if f"dualcoop.{alias.name}" not in SOURCES
    }
    assert {what for _, what in taken} <= {"__version__"}, taken


def test_source_files_stay_short():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines >= MAX_LINES} == {}


IMPORT_ONE_BY_ONE = f"""
import importlib, sys
seen = set()
for module in {WITHOUT_TORCH}:
    importlib.import_module(module)
    found = {{"torch", "open_clip", "timm"}} & set(sys.modules)
    if found - seen:
        print(module, "imports", *sorted(found - seen))
    seen |= found
"""


def test_importing_needs_neither_torch_nor_open_clip():
    """In one process: who imports first what none before did is to blame."""
    result = subprocess.run([sys.executable, "-c", IMPORT_ONE_BY_ONE], capture_output=True, text=True, check=True)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import dualcoop.methods.dualcoop", {Import("dualcoop.methods.dualcoop", True)}),
        ("from dualcoop.data import images", {Import("dualcoop.data.images", True)}),
        ("from dualcoop.data import load_dataset", {Import("dualcoop.data", True)}),
        ("from ..errors import DataError", {Import("dualcoop.errors", True)}),
        ("from . import masks", {Import("dualcoop.data.masks", True)}),
        ("def f():\n    import dualcoop.methods.dualcoop", {Import("dualcoop.methods.dualcoop", False)}),
        ("class A:\n    import dualcoop.methods.dualcoop", {Import("dualcoop.methods.dualcoop", True)}),
        ("if TYPE_CHECKING:\n    import dualcoop.methods.dualcoop", {Import("dualcoop.methods.dualcoop", False)}),
        (
            "try:\n    import dualcoop.methods.dualcoop\nexcept ImportError:\n    pass",
            {Import("dualcoop.methods.dualcoop", True)},
        ),
        ("import torch\nfrom numpy import array", set()),
    ],
)
def test_the_reader_of_imports_sees_every_form(source, expected):
    known = {"dualcoop.data.images", "dualcoop.data.masks", "dualcoop.errors"}
    assert imports_of(source, "dualcoop.data.tables", False, known) == expected
