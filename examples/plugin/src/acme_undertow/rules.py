"""ACME101: layers whose widths waste a tensor core."""

from collections.abc import Iterator

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules import rule

MULTIPLE = 8


@rule("ACME101", "odd width")
def odd_width(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A layer's width is no multiple of eight.

    What:
        The rows or columns of a weight matrix of 16 or more are no multiple of 8.
    Why it is bad:
        Tensor cores multiply tiles of eight in half precision; the rest of the last tile is computed for nothing. It
        costs time and no accuracy: a note.
    Evidence:
        ``width``.
    Threshold:
        8, the tile of a tensor core in half precision.
    What to do:
        Round widths up to a multiple of 8, as a vocabulary of 50,257 to 50,304.
    References:
        NVIDIA, Matrix Multiplication Background User's Guide.
    """
    for site in diagnosis.run.sites:
        odd = [size for size in site.weight_shape[:2] if size >= 2 * MULTIPLE and size % MULTIPLE]
        if odd:
            message = f"{site.name} has a width of {odd[0]}, which is no multiple of {MULTIPLE}."
            yield Finding(
                "ACME101", "odd width", Severity.NOTE, (site.index,), site.name, message,
                evidence={"width": float(odd[0])}, threshold=f"a multiple of {MULTIPLE}",
                advice=f"Make it {-(-odd[0] // MULTIPLE) * MULTIPLE}.",
            )  # fmt: skip
