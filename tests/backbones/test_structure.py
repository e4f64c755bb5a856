"""Who knows what of the backbones: the others the contract alone, and within the package no circles."""

import pytest

from test_architecture import IMPORTS

PACKAGE = "dualcoop.backbones"
OPEN_TO_ALL = {PACKAGE, f"{PACKAGE}.base", f"{PACKAGE}.loading.names", f"{PACKAGE}.loading.registry"}
# Lowest first; what stands at the top of the package by its name.
ORDER = ("preprocessing", "base", "frozen", "text", "towers", "loading", "lite")


def place(module: str) -> int:
    name = module.removeprefix(f"{PACKAGE}.")
    return next(rank for rank, each in enumerate(ORDER) if f"{name}.".startswith(f"{each}."))


def test_outside_modules_know_the_contract_alone() -> None:
    strays = [
        (name, imported.target)
        for name, imports in IMPORTS.items()
        for imported in imports
        if not name.startswith(PACKAGE) and imported.target.startswith(PACKAGE) and imported.target not in OPEN_TO_ALL
    ]
    assert strays == []


@pytest.mark.parametrize("module", [name for name in IMPORTS if name.startswith(f"{PACKAGE}.")])
def test_parts_import_in_one_direction(module: str) -> None:
    inside = {each.target for each in IMPORTS[module] if each.target.startswith(f"{PACKAGE}.")}
    assert [target for target in inside if place(target) > place(module)] == []
