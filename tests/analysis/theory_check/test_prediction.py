"""Theory beside measurement: agreement where it should hold, silence where it doesn't, the right blame elsewhere."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from analysis.theory_check.chains import WIDTH, chain, correlated, theory_of
from undertow.examination import examine
from undertow.render import report_page as pages
from undertow.report import Report
from undertow.theory.propagation import Layer, propagate


def test_it_is_propagate_read_off_the_model():
    """From the sizes of one's weights and the data alone the library's own recursion expects the same."""
    net = chain(nn.Tanh, 5, 1.3)
    x = torch.randn(2000, WIDTH, generator=torch.Generator().manual_seed(9))
    found = examine(net, lambda: net(x).square().mean()).theory
    linear = [module for module in net if isinstance(module, nn.Linear)]
    layers = [Layer.of("tanh", m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linear]
    expected = propagate(layers, float(x.square().mean()))
    np.testing.assert_allclose(
        [o.expected for o in found.predictions], np.log10(expected.chi[::-1]) / 2, atol=0.012
    )  # what comes into the layers is measured here, computed there


def codes(model, rows=64):
    generator = torch.Generator().manual_seed(9)
    x, y = torch.randn(rows, WIDTH, generator=generator), torch.randint(0, 4, (rows,), generator=generator)
    return {f.code: f for f in examine(model, lambda: functional.cross_entropy(model(x), y)).findings}


def test_the_rule_takes_its_numbers_from_theory():
    net = chain(nn.Tanh, 10, 0.5)
    finding, found = codes(net)["UT301"], theory_of(net)
    for name in ("expected", "measured", "spread"):
        assert finding.evidence[name] == pytest.approx(getattr(found, name), rel=1e-6)
    assert finding.evidence["needed"] == pytest.approx(1, rel=0.02)


def test_a_single_layer_is_no_initialisation_off_for_the_depth():
    net = chain(nn.ReLU, 6, 2**0.5)
    with torch.no_grad():
        net[4].weight.mul_(0.005)
    assert "UT301" not in codes(net)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("activation", "gain"), [(nn.ReLU, 2**0.5), (nn.Tanh, 1.0), (nn.GELU, 1.5), (nn.SELU, 1.0)])
def test_the_rule_is_silent_at_the_usual_starts(activation, gain, seed):
    assert "UT301" not in codes(chain(activation, 12, gain, seed))


@pytest.fixture(scope="module")
def deviating():
    net, x = correlated(), 0.5 + 0.3 * torch.randn(64, 256)
    return examine(net, lambda: net(x).square().mean())


def test_the_terminal_shows_it_beside_the_measurement(deviating):
    lines = str(deviating).splitlines()
    head = next(line for line in lines if line.lstrip().startswith("layer"))
    assert head.index("passes on") < head.index("theory")
    (marked,) = (line for line in lines if " ! " in line and not line.lstrip().startswith("!"))
    assert marked.split()[0] == "2"
    (told,) = (line for line in lines if line.lstrip().startswith("! 2: "))
    assert "correlated inputs" in "".join(lines[lines.index(told) : lines.index(told) + 3])
    assert max(map(len, lines)) <= 118


def test_json_holds_it_and_it_is_derived_anew(deviating, tmp_path):
    data = deviating.to_dict()["theory"]
    assert [each["departs"] for each in data["stretches"]] == [False, False, False, True]
    assert set(data) == {"saying", "expected", "measured", "spread", "departs", "reasons", "stretches"}
    again = Report.read(deviating.save(tmp_path / "report.json"))
    assert again.to_dict()["theory"] == data


def test_the_page_shows_it(deviating):
    page = pages.article(deviating.diagnosis).html()
    assert 'id="theory"' in page
    assert "correlated inputs" in page
    assert page.count("stroke-dasharray") >= 1


def test_a_page_without_theory_says_so():
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.randn(30, 8)
    report = examine(net, lambda: net(x).square().mean())
    assert "Theory says nothing of this network: it holds normalisation." in str(report)
    page = pages.article(report.diagnosis).html()
    assert "no theory for this" not in page
    assert "Theory says nothing of this network" in page


def test_a_thousand_stretches_are_not_listed_one_by_one():
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(500) for m in (nn.Linear(8, 8), nn.Tanh())])
    x = torch.randn(8, 8)
    report = examine(net, lambda: net(x).square().mean())
    assert len(report.theory.predictions) == 499
    assert len(str(report).splitlines()) < 64
    pages.article(report.diagnosis)
