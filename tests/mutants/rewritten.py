"""A check that stands in the middle of a function is taken out of its source, and the rest stays as it is."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from mutants import Mutant, Place
from mutants.told import told_by

_FLAGS = __future__.annotations.compiler_flag


def rewritten(owner: Any, name: str, old: str, new: str, *more: tuple[str, str]) -> Callable[[Place], None]:
    """In `owner` (a module or a class) the function `name` has `new` where `old` stood, which is there once;
    `more` are further such pairs.
    """

    def remove(place: Place) -> None:
        place.patch.setattr(owner, name, _made(inspect.getattr_static(owner, name), ((old, new), *more)))

    return remove


def _made(found: Any, edits: tuple[tuple[str, str], ...]) -> Any:
    function: Any = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    function = inspect.unwrap(function)  # the source has its decorators
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}"
        source = source.replace(old, new)
    # Inside of a function, so that super() finds its class.
    code = f"def make(__class__):\n{textwrap.indent(source, '    ')}\n    return {function.__name__}\n"
    scope: dict[str, Any] = {}
    exec(compile(code, "<rewritten>", "exec", flags=_FLAGS), function.__globals__, scope)
    return scope["make"](_class_of(function))


def _class_of(function: Any) -> Any:
    names = function.__code__.co_freevars
    return function.__closure__[names.index("__class__")].cell_contents if "__class__" in names else None


def caught_by(
    test: Callable[..., None], removed: str, remove: Callable[[Place], None], harm: str = "", **given: object
) -> Mutant:
    """A mutant that this test finds, with these values for its parameters: by what it asserts, not by accident."""
    says = harm or rf"^{test.__name__}: (AssertionError|Failed): "
    return Mutant(removed, remove, told_by(test, **given), says)
