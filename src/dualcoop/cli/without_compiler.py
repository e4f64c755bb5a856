"""Imports without torch's compiler, which the command line does not use and which takes a second to import."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
UTILITIES = "torch._dynamo.utils"


class _Later(ModuleType):
    """Stands for one of the compiler's modules; asked for more than it has, it makes room for the real one."""

    def __init__(self, name: str, **attributes: Callable[..., Any]) -> None:
        super().__init__(name)
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        # Python asks all modules for these, which is no use of the compiler, save where a submodule is looked for.
        if name.startswith("__") and (name, self.__name__) != ("__path__", COMPILER):
            raise AttributeError(name)
        _make_room()
        return getattr(import_module(self.__name__), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let packages be imported that want no more of torch's compiler than to mark functions for it.

    timm marks functions that are not to be compiled, torchvision asks whether one can be. Afterwards the compiler is
    imported as ever where it is used; only these marks are missing, so this is for a process whose models are not
    compiled.
    """
    import_module("torch")
    if COMPILER in sys.modules:
        yield
        return
    sys.modules[COMPILER] = _Later(COMPILER, disable=_unmarked)
    sys.modules[UTILITIES] = _Later(UTILITIES, is_compile_supported=_is_compile_supported)
    try:
        yield
    finally:
        _make_room()


def _make_room() -> None:
    for name in (COMPILER, UTILITIES):
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


def _unmarked(function: Callable[..., Any] | None = None, *_: object, **__: object) -> Any:
    """`torch.compiler.disable`, with a function or as the maker of a decorator, without an effect."""
    return _unmarked if function is None else function


def _is_compile_supported(device: str) -> Any:
    _make_room()
    return import_module(UTILITIES).is_compile_supported(device)
