"""A report in a notebook."""

from dataclasses import replace

import nbclient
import nbformat
import pytest

from undertow import Report
from undertow.record import Finding, Severity

CELLS = [
    """
    import torch, undertow
    torch.set_num_threads(1)
    net = torch.nn.Sequential(*[m for _ in range(8) for m in (torch.nn.Linear(20, 20), torch.nn.Sigmoid())])
    x = torch.randn(50, 20)
    report = undertow.examine(net, lambda: net(x).square().mean())
    """,
    "print(report)",
    "str(report) == ''",
    "report",
    "report.run",
    "report.findings",
    "report.theory",
    "undertow.explain(report.run)",
]


@pytest.fixture(scope="module")
def outputs():
    """What the cells of a notebook show, that a kernel of its own executed."""
    lines = [[line.strip() for line in cell.strip().splitlines()] for cell in CELLS]
    cells = [nbformat.v4.new_code_cell("\n".join(each)) for each in lines]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True))


def test_a_notebook_prints_a_report_as_text(outputs):
    (printed,) = outputs["print(report)"]
    assert printed.output_type == "stream"
    assert "UT101 error" in printed.text
    assert "\x1b" not in printed.text
    assert outputs["str(report) == ''"][0].data["text/plain"] == "False"


def test_a_notebook_shows_a_report_once(outputs):
    (shown,) = outputs["report"]
    assert shown.output_type == "execute_result"
    assert "UT101" in shown.data["text/html"]


@pytest.mark.parametrize("cell", CELLS[4:])
def test_its_parts_are_shown_in_a_few_words(outputs, cell):
    (shown,) = outputs[cell]
    text = shown.data["text/plain"]
    assert max(map(len, text.splitlines())) < 160
    assert len(text) < 1200
    assert "array(" not in text


def test_a_notebook_gets_no_script_and_no_markup_of_the_models(vanishing, hostile_report):
    assert "UT101" in vanishing._repr_html_()
    shown = hostile_report._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_what_to_do_stands_under_the_verdict_and_what_follows_beneath_the_picture(vanishing):
    cause = Finding(
        "UT101", "v", Severity.ERROR, (), "", "It <fades>.", advice="Use He & co:", snippet="x = 1 < 2\ny = 3"
    )
    late = Finding("UT202", "d", Severity.WARNING, (), "", "Units are dead.", follows_from="UT101")
    shown = Report(replace(vanishing.diagnosis, findings=[cause, late]))._repr_html_()
    parts = [
        "It &lt;fades&gt;.",
        "Use He &amp; co:",
        "<pre>x = 1 &lt; 2\ny = 3</pre>",
        "<img",
        "undertow rule UT101",
        "Units are",
    ]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert shown.count("<pre>") == 1
