"""A base class for what is closed when its block ends."""

from typing import Self


class Closing:
    """``with`` closes it."""

    def close(self) -> object:
        """Let go of what it holds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
