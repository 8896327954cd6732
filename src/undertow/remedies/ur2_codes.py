"""UR2xx, level B: codes that are to be chosen by what they are near to."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.survey import surveyed
from undertow.training import Training, random_numbers_kept

APART = 0.02
"""Noise by which codes that begin at one place differ, as a part of the spread of what they code."""


@remedy("UR208", "codes that begin where they are needed", "B", ["UT204", "UT203"])
def codes(training: Training) -> Training:
    """Let the codes of a vector quantiser begin at what its encoder makes of a batch.

    What it changes:
        Rows of every matrix whose nearest row is chosen: each begins at the code of an example drawn at random.
    When:
        One code is nearest to everything, and the others never get a gradient.
    Predicts:
        Most codes are chosen.
    References:
        van den Oord, Vinyals, Kavukcuoglu 2017 (VQ-VAE); Łańcucki et al. 2020 (codebook from the encoder's outputs).
    """
    return on_model(training, _Codes(training))


@dataclass(frozen=True)
class _Codes:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        near = surveyed(model, self.training).near
        if not near:
            raise ValueError("the model has no codes among which the nearest is chosen")
        with torch.no_grad(), random_numbers_kept():
            for name, made in near.items():
                book = model.get_parameter(name)
                drawn = made[torch.randint(len(made), (len(book),))]
                book.copy_(drawn + APART * made.std(0, correction=0) * torch.randn_like(drawn))


@codes.proposes
def _proposed_codes(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if books := known_facts(diagnosis).get("survey", {}).get("codes"):
        found = any(finding.code in ("UT204", "UT203") for finding in diagnosis.findings)
        yield Proposal({}, f"the nearest row of {books[0]} is chosen, wherever the rows are", 0.9 if found else 0.7)


@codes.written
def _codes_lines() -> str:
    return (
        "with torch.no_grad():\n"
        "    z = model.encoder(x)  # what is to be coded, of a batch\n"
        "    codes = model.codebook.weight\n"
        "    codes.copy_(z[torch.randint(len(z), (len(codes),))])"
    )
