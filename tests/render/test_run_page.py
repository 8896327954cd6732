import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Event, Run
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.run_page import html
from undertow.render.run_view import run_view


def test_a_run_without_any_taped_step_has_a_page():
    run = Run({"model": "Compiled"}, (), scalars={"step": np.arange(3.0), "loss": np.array([3.0, 2.0, 1.0])})
    assert "Compiled" in html(DiagnosedRun(Diagnosis(run)), "compiled")
    assert "compiled" in html(DiagnosedRun(Diagnosis(Run({}, ()))), "compiled")


def test_what_could_not_be_seen_and_every_optimizers_loss_are_on_the_page():
    header = {
        "model": "Pair",
        "unseen": {"compiled": "The model is compiled."},
        "losses": {"loss": "SGD", "loss/G": "Adam"},
    }
    scalars = {"step": np.arange(3.0), "loss": np.arange(3.0), "loss/G": 2 - np.arange(3.0)}
    events = tuple(Event(n, 0.0, kind, f"It {kind}.") for n, kind in enumerate(("rewind", "unseen", "ended")))
    diagnosed = DiagnosedRun(Diagnosis(Run(header, (), scalars=scalars, events=events)))
    view = run_view(diagnosed.series, header, (), events, judged=True)
    assert view["unseen"] == ["The model is compiled."]
    assert view["losses"] == header["losses"]
    assert set(view["losses"]) <= set(view["scalars"])
    assert [each["kind"] for each in view["events"]] == ["rewind", "unseen", "ended"]
    assert not {"unseen", "losses"} & {name for name, _ in view["meta"]}
    assert "The model is compiled." in html(diagnosed, "pair")
