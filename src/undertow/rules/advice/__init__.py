"""Advise what to do about a finding in the model at hand: a sentence or two, and the same as lines of plain PyTorch.

Makers shared by several rules, a module a subject; each rule hands over what it knows and gets an `Advice` back.
"""

from dataclasses import replace
from typing import NamedTuple

from undertow.record import Finding

__all__ = ["Advice"]


class Advice(NamedTuple):
    """Say what to do, in words and as code.

    Attributes:
        text: a sentence or two, plain text.
        snippet: lines of plain PyTorch; empty where none can be written without the user's own names.
        starts_again: whether the text says where to begin anew, so that nobody has to add it.
    """

    text: str
    snippet: str = ""
    starts_again: bool = False

    def on(self, finding: Finding) -> Finding:
        """Return a finding that carries this advice.

        Example:
            >>> from undertow.record import Severity
            >>> Advice("Leave it out.").on(Finding("UT109", "", Severity.ERROR, (), "", "It cuts.")).advice
            'Leave it out.'
        """
        return replace(finding, advice=self.text, snippet=self.snippet, starts_again=self.starts_again)
