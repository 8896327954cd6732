"""The error of a file that can't be used, in one sentence: what, why, and what to do instead."""


class StoreError(ValueError):
    """A file that cannot be read as a Run: it is missing, damaged, newer than this undertow, or no Run at all."""
