"""A full step that cannot be written is told of, and costs itself only."""

from typing import Any

import pytest

from undertow.watching.full_step_writer import FullStepWriter
from watching.loops import Left, sgd
from watching.training import Attach, Watched, events, net, steps


def test_a_full_step_that_cannot_be_written_costs_itself_only(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FullStepWriter._write

    def sometimes(self: FullStepWriter, when: Any, *rest: Any) -> None:
        if when.step % 5 == 2:
            raise ZeroDivisionError("ours")
        write(self, when, *rest)

    monkeypatch.setattr(FullStepWriter, "_write", sometimes)

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        attach(model, optimizer)
        steps(model, optimizer, 20)
        return model, []

    _, run = watched(loop, every=1)
    assert run.steps["step"].tolist() == [step for step in range(20) if step % 5 != 2]
    (event,) = events(run, "trouble")
    assert "Full step 2 can't be recorded" in event.message
