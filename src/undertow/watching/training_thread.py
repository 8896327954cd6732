"""`TrainingThread`: the thread that trains what is watched, as others train other models beside it."""

import threading
from dataclasses import dataclass


@dataclass
class TrainingThread:
    """Knows the thread that trains: gradients may be read on no other, as it may be replacing them.

    Attributes:
        ident: of the thread; None before the first backward pass or step that is known to be of the watched model.

    Example:
        >>> thread = TrainingThread()
        >>> thread.is_here()
        True
        >>> thread.take_over()
        >>> thread.ident == threading.get_ident()
        True
    """

    ident: int | None = None

    def take_over(self) -> None:
        """Note that the thread that calls this trains."""
        self.ident = threading.get_ident()

    def is_here(self) -> bool:
        """Tell whether the thread that calls this may read gradients: it trains, or nobody does."""
        ident = self.ident
        if ident is None or ident == threading.get_ident():
            return True
        return all(each.ident != ident for each in threading.enumerate())
