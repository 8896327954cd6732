"""Severities by outcome: what the table that is shipped says, and what rules make of it."""

import pytest

from undertow.record import Run, Severity
from undertow.rules.consequences import (
    ADAPTIVE,
    ANY,
    FEWEST_NETWORKS,
    MOST,
    PLAIN,
    optimizer_kind,
    outcome,
    severity_of,
    table,
)

SGD, ADAM, UNKNOWN = Run({"optimizer": "SGD"}, ()), Run({"optimizer": "AdamW"}, ()), Run({}, ())


def test_every_row_counts_what_it_can():
    for row in table():
        assert row.networks >= FEWEST_NETWORKS
        assert 0 <= row.learned <= row.networks
        assert row.networks - row.learned <= row.twice <= row.networks  # where it didn't, its twin did
        assert row.low < row.high


def test_both_kinds_of_optimizer_are_counted_together():
    plain, adaptive, both = (
        {(r.code, r.kind, r.low): r.networks for r in table() if r.optimizer == name} for name in (PLAIN, ADAPTIVE, ANY)
    )
    for key in plain.keys() & adaptive.keys():
        assert both[key] == plain[key] + adaptive[key]


@pytest.mark.parametrize("run", [SGD, ADAM, UNKNOWN])
@pytest.mark.parametrize("kind", ["activation", "weights", ANY])
def test_losing_more_is_never_milder(run, kind):
    ranks = [severity_of("UT101", total, run, kind)[0].rank for total in (-1.4, -1.8, -2.2, -2.7, -3.5, -5.0, -9.0)]
    assert ranks == sorted(ranks)


def test_what_flat_activations_lose_is_worse_than_what_small_weights_do():
    for total in (-1.4, -2.2, -2.7, -3.5, -5.0):
        flat, small = (severity_of("UT101", total, UNKNOWN, kind)[0].rank for kind in ("activation", "weights"))
        assert flat >= small


@pytest.mark.parametrize("total", [-1.3, -1.7, -2.1, -2.6, -2.99])
@pytest.mark.parametrize("run", [SGD, ADAM, UNKNOWN])
def test_default_starts_of_few_layers_are_notes(total, run):
    assert severity_of("UT101", total, run, "weights")[0] is Severity.NOTE


def test_severity_is_read_off_the_row():
    for row in table():
        if row.optimizer != ANY or row.kind != ANY:
            continue
        middle = (row.low + row.high) / 2
        expected = (
            Severity.ERROR
            if row.networks - row.learned >= MOST * row.networks
            else Severity.WARNING
            if row.twice >= MOST * row.networks
            else Severity.NOTE
        )
        severity, sentence = severity_of(row.code, middle, UNKNOWN)
        assert severity is expected
        assert f"Of {row.networks} networks like this" in sentence


def test_what_no_network_was_like_is_a_note_without_a_sentence():
    assert severity_of("UT999", -3.0, SGD) == (Severity.NOTE, "")
    assert outcome("UT999", -3.0) is None


def test_an_amount_beyond_the_table_belongs_to_its_end():
    assert outcome("UT101", -250.0) == outcome("UT101", -50.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SGD", PLAIN),
        ("Adam", ADAPTIVE),
        ("SGD, SGD", PLAIN),
        ("SGD, Adam", ANY),
        ("none: gradient descent assumed", ANY),
        ("", ANY),
    ],
)
def test_optimizers_are_told_apart_by_name(name, kind):
    assert optimizer_kind(Run({"optimizer": name}, ())) == kind
