"""How many networks there are, and their twins."""

from undertow.studies.severity import config
from undertow.studies.severity.config import twin


def test_the_whole_study_trains_thousands_of_networks():
    assert len(list(config(quick=False).training().cells())) >= 2_500
    kinds = {network["kind"] for network in config(quick=False).networks()}
    assert {"mlp", "cnn", "transformer", "rnn", "lstm", "gru"} <= kinds


def test_a_twin_keeps_all_but_what_makes_the_scale():
    for one in config(quick=False).networks():
        other = twin(one)
        assert {k: one[k] for k in ("data", "optimizer", "seed", "depth", "activation", "steps")} == {
            k: other[k] for k in ("data", "optimizer", "seed", "depth", "activation", "steps")
        }
        assert twin(other) == other
