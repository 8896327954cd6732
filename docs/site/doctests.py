"""Let the site show a docstring's ``Example:`` as the examples that they are."""

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Call the section as griffe knows it, so that its lines become code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
