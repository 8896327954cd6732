"""Packages that `pip install undertow` leaves out: asked for here, so that one sentence says what to install."""

from importlib import import_module
from typing import Any

DISTRIBUTIONS = {"ignite": "pytorch-ignite", "sklearn": "scikit-learn"}
"""What is installed under another name than it is imported by."""


def needed(package: str, extra: str, what: str) -> Any:
    """Import a package that belongs to an extra.

    Args:
        package: the module to import, dotted where it is a part of a package.
        extra: the extra of undertow that brings it.
        what: what can't be done without it: the subject of the error's sentence.

    Raises:
        ModuleNotFoundError: it isn't installed; the message says what to install.

    Example:
        >>> needed("json", "lab", "reading JSON").loads("[1]")
        [1]
        >>> needed("no_such_package", "lab", "MNIST from the network")
        Traceback (most recent call last):
        ModuleNotFoundError: MNIST from the network needs no_such_package, which is not installed: pip install ...
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = package.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != name:
            raise  # the package is there, and something that it needs isn't
        raise ModuleNotFoundError(
            f'{what} needs {DISTRIBUTIONS.get(name, name)}, which is not installed: pip install "undertow[{extra}]"',
            name=name,
        ) from error
