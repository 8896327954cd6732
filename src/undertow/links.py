"""Addresses of the documentation, as the installed package knows them from pyproject.toml, their one place."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata


@cache
def documentation() -> str:
    """Return the address of the documentation, ending in a slash; empty where the package isn't installed.

    Example:
        >>> documentation() == "" or documentation().endswith("/")
        True
    """
    try:
        urls = metadata("undertow").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    found = dict(each.split(", ", 1) for each in urls if ", " in each).get("Documentation", "")
    return f"{found.rstrip('/')}/" if found else ""


def of_rule(code: str) -> str:
    """Return where a rule or a remedy is explained; empty where nobody knows.

    Example:
        >>> of_rule("UT101").rpartition("/")[2] in ("", "UT101.html")
        True
    """
    page = f"remedies.html#{code.lower()}" if code.startswith("UR") else f"rules/{code}.html"
    return f"{documentation()}{page}" if documentation() else ""
