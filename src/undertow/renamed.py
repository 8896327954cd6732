"""Names that have changed: the old ones work for a release, with a warning."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def old_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a module's ``__getattr__``, which answers to old names with what has the new ones.

    Args:
        module: its name, in which the new names are.
        names: old name -> new name.

    Example:
        >>> old_names("os.path", {"unite": "join"})("unite")("a", "b")    # with a DeprecationWarning
        Traceback (most recent call last):
        DeprecationWarning: os.path.unite is called os.path.join now; the old name goes with the next release
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = f"{module}.{name} is called {module}.{names[name]} now; the old name goes with the next release"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return find
