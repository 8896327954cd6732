import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from undertow.analysis.attribution import attribute
from undertow.examination import examine
from undertow.record import EDGE_COLUMNS, PARAMETER_COLUMNS, SITE_COLUMNS, Edge, Event, Role, Run, Site
from undertow.store import open_run, save_run

any_float = st.floats(width=32)
words = st.text(max_size=8)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def runs(draw):
    sites, rows, noted, n = (
        draw(st.integers(0, 5)),
        *(draw(st.integers(0, 40)) for _ in range(2)),
        draw(st.integers(0, 3)),
    )
    dtype = draw(st.sampled_from([np.float32, np.float64]))

    def columns(known, shape):
        chosen = draw(st.sets(st.sampled_from(sorted(known)), max_size=3))
        return {name: draw(hnp.arrays(dtype, shape, elements=any_float, fill=st.just(np.nan))) for name in chosen}

    def numbers(known, rows):
        found = {name: values[:, 0] for name, values in columns(known, (rows, 1)).items()}
        # A row whose step is lost is left out on reading: tests/store/test_damage.py.
        return {
            **found,
            **(
                {"step": np.abs(np.nan_to_num(found["step"], nan=0, posinf=0, neginf=0)) % 1000}
                if "step" in found
                else {}
            ),
        }

    edges = tuple(Edge(a, a + 1) for a in range(sites - 1))
    parameters = columns(PARAMETER_COLUMNS, (3, n))
    return Run(
        {"model": draw(words), "loss": draw(any_float), "seeds": [1, 2]},
        tuple(Site(i, draw(words), "addmm", Role.WEIGHT, (8, i), parameters=("w",)) for i in range(sites)),
        edges,
        columns(SITE_COLUMNS, (rows, sites)),
        columns(EDGE_COLUMNS, (rows, len(edges))),
        numbers(["step", "time", "loss", "lr"], rows),
        scalars=numbers(["loss", "step", draw(names)], noted),
        parameters=tuple(f"{draw(words)}{i}" for i in range(n)),
        parameter_columns=parameters,
        parameter_steps=np.arange(3.0) if parameters else np.empty(0),
        events=tuple(Event(i, draw(any_float), "nonfinite", draw(words), {"x": draw(any_float)}) for i in range(n)),
    )


@given(runs())
@settings(max_examples=60, deadline=None)
def test_a_run_survives_its_file(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("run") / "run.undertow"
    save_run(run, path)
    assert open_run(path) == run


def test_what_was_examined_is_explained_the_same(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(layer for _ in range(4) for layer in (torch.nn.Linear(6, 6), torch.nn.Sigmoid())))
    x = torch.randn(8, 6)
    report = examine(model, lambda: model(x).square().mean(), torch.optim.SGD(model.parameters(), 0.1))
    save_run(report.run, tmp_path / "run.undertow")
    run = open_run(tmp_path / "run.undertow")
    assert run == report.run
    assert attribute(run) == attribute(report.run)
