"""Plugins: what other packages add by their entry points, loaded when it is first asked for and never before.

A package that adds rules names a module of its own in its pyproject.toml::

    [project.entry-points."undertow.rules"]
    acme = "acme_undertow.rules"

A plugin that can't be loaded is told of once, and costs nothing but what it would have added.
"""

import warnings
from collections.abc import Iterator, MutableMapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import Any, TypeVar

from undertow.printable import printable, told

__all__ = ["GROUPS", "PluginError", "PluginWarning", "Registry", "installed", "named", "names"]

T = TypeVar("T")

GROUPS = {
    "undertow.rules": "a module whose functions undertow.rules.rule decorates",
    "undertow.remedies": "a module whose functions undertow.remedies.remedy decorates",
    "undertow.renderers": "a function that takes a Diagnosis and returns a file's content; its name is the suffix",
    "undertow.trackers": "a class or function that makes a tracker",
}
"""Groups of entry points, and what an entry of each leads to."""


BROKEN = (Exception, SystemExit)
"""What a module may raise while it is loaded."""


class PluginWarning(RuntimeWarning):
    """A plugin could not be loaded; what others add is there.

    Example:
        >>> issubclass(PluginWarning, RuntimeWarning)
        True
    """


class PluginError(ValueError):
    """A plugin that was asked for by name could not be loaded.

    Example:
        >>> issubclass(PluginError, ValueError)
        True
    """


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, by name, without loading any.

    Example:
        >>> installed("undertow.no_such_group")
        ()
    """
    return tuple(sorted(entry_points(group=group), key=lambda each: each.name))


def names(group: str) -> list[str]:
    """Return what plugins of a group are called, without loading any.

    Example:
        >>> names("undertow.no_such_group")
        []
    """
    return [each.name for each in installed(group)]


def named(group: str, name: str) -> Any:
    """Load the plugin of a name.

    Raises:
        LookupError: there is none.
        PluginError: it can't be loaded; the message says why.

    Example:
        >>> named("undertow.trackers", "no_such_tracker")
        Traceback (most recent call last):
        LookupError: no plugin adds 'no_such_tracker' to undertow.trackers
    """
    for entry in installed(group):
        if entry.name == name:
            try:
                return entry.load()
            except BROKEN as error:
                raise PluginError(f"{_called(entry)} can't be loaded ({told(error)})") from error
    raise LookupError(f"no plugin adds {name!r} to {group}")


class Registry(MutableMapping[str, T]):
    """Hold what there is by code: our own at once, and what plugins add as soon as somebody reads.

    Args:
        group: of the entry points. Loading one registers what it has, as a decorator does.

    Example:
        >>> registry = Registry[int]("undertow.no_such_group")
        >>> registry["UT101"] = 1
        >>> dict(registry), registry.registered
        ({'UT101': 1}, {'UT101': 1})
    """

    def __init__(self, group: str) -> None:
        self._group, self._lock = group, RLock()
        self._loading = self._is_loaded = False
        self.registered: dict[str, T] = {}
        """What was registered until now; reading it loads nothing."""

    def _all(self) -> dict[str, T]:
        if self._is_loaded:  # without a lock, which an interrupt at the wrong moment would leave locked
            return self.registered
        with self._lock:  # whoever reads while another thread loads waits for all of it
            if not self._loading:
                self._loading = True
                broken = [self._load(entry) for entry in installed(self._group)]
                self._is_loaded = True
                for text in filter(None, broken):  # after all were loaded: where warnings are errors, too
                    warnings.warn(text, PluginWarning, stacklevel=3)
        return self.registered

    def _load(self, entry: EntryPoint) -> str:
        """Load a plugin; return what is wrong with it, empty if nothing is."""
        before = dict(self.registered)
        try:
            entry.load()
        except BROKEN as error:
            self.registered.clear()
            self.registered.update(before)  # half a plugin is none
            return f"undertow: {_called(entry)} can't be loaded, so that what it adds is missing ({told(error)})"
        return ""

    def __getitem__(self, code: str) -> T:
        return self._all()[code]

    def __setitem__(self, code: str, each: T) -> None:
        self.registered[code] = each

    def __delitem__(self, code: str) -> None:
        del self.registered[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _called(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
    return printable(f"the plugin {entry.name}{package}")
