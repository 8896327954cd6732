"""examine: what it reports, and that the model is none the worse for it."""

import copy
import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine
from undertow.render import terminal_report
from undertow.render.terminal import Screen


def mlp(activation=nn.Sigmoid, depth=4, width=12, out=3):
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(width, width), activation()) for _ in range(depth)]
    return nn.Sequential(*layers, nn.Linear(width, out))


def squares(model, rows=16, width=12):
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(1))
    return lambda: model(x).square().mean()


class Restless(nn.Module):
    """Everything an examination could leave a trace in."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Linear(8, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", None)

    def forward(self, x):
        self.calls += 1
        self.last = x
        x = x + 0.1 * torch.randn_like(x) + random.random() + np.random.rand()  # noqa: NPY002  # what users do
        return self.head(self.body(x))


def everything(model):
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "identities": [id(p.grad) for p in model.parameters()] + [id(b) for b in model.buffers()],
        "modes": [module.training for module in model.modules()],
        "rng": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()),  # noqa: NPY002  # as above
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "accumulation": [len(p._post_accumulate_grad_hooks or ()) for p in model.parameters()],
    }


def assert_same(before, after):
    assert before["modes"] == after["modes"]
    assert before["hooks"] == after["hooks"]
    assert before["accumulation"] == after["accumulation"]
    assert before["identities"] == after["identities"]
    assert before["state"].keys() == after["state"].keys()
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name]), name
    for a, b in zip(before["grads"], after["grads"], strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)
    assert torch.equal(before["rng"][0], after["rng"][0])
    assert before["rng"][1] == after["rng"][1]
    assert np.array_equal(before["rng"][2], after["rng"][2])


@pytest.mark.parametrize("fails", [None, "in the loss", "in the backward pass", "in the middle of a module"])
@pytest.mark.parametrize("with_optimizer", [False, True])
def test_no_trace_is_left(fails, with_optimizer):
    torch.manual_seed(0)
    model = Restless()
    model.head.eval()
    model.body[0].weight.grad = torch.ones(8, 6)
    model.head.weight.register_post_accumulate_grad_hook(lambda p: p.data.zero_())
    model.body[1].register_forward_hook(lambda *_: None)
    optimizer = torch.optim.Adam(model.parameters()) if with_optimizer else None
    x = torch.randn(10, 6)

    def compute_loss():
        model.eval()
        model.train()
        loss = model(x).square().mean()
        if fails == "in the loss":
            raise ArithmeticError
        if fails == "in the backward pass":
            loss.register_hook(lambda _: 1 / 0)
        if fails == "in the middle of a module":
            model.body[2].register_forward_pre_hook(lambda *_: 1 / 0)
            try:
                model(x)
            finally:
                model.body[2]._forward_pre_hooks.clear()
        return loss

    before = everything(model)
    if fails:
        with pytest.raises(ArithmeticError):
            examine(model, compute_loss, optimizer)
    else:
        examine(model, compute_loss, optimizer)
    assert_same(before, everything(model))
    assert optimizer is None or optimizer.state == {}
    assert torch._C._get_mkldnn_enabled()


def test_examining_does_not_change_what_training_does():
    def train(look):
        torch.manual_seed(3)
        model = Restless()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002  # as above
        for _ in range(4):
            if look:
                examine(model, lambda: model(torch.ones(5, 6)).square().mean(), optimizer, repeats=2)
            optimizer.zero_grad()
            model(torch.randn(5, 6)).square().mean().backward()
            optimizer.step()
        return [*model.parameters(), *model.buffers()]

    assert all(torch.equal(a, b) for a, b in zip(train(True), train(False), strict=True))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_the_trial_step_is_the_real_one(make):
    model = mlp(nn.Tanh)
    optimizer = make(model.parameters(), lr=0.01, weight_decay=0.1)
    compute_loss = squares(model)
    for _ in range(3):  # state to start from
        compute_loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    report = examine(model, compute_loss, optimizer)
    before = copy.deepcopy(model)
    compute_loss().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    optimizer.step()
    steps = {name: p.detach() - dict(before.named_parameters())[name].detach() for name, p in model.named_parameters()}
    descent = {name: -(grads[name] * steps[name]).sum().item() for name in steps}
    total = sum(descent.values())
    for site in report.run.sites:
        if site.role == "weight":
            reading = report.run.reading(site.index)
            assert reading.progress == pytest.approx(sum(descent[n] for n in site.parameters) / total, rel=1e-4)
            weight = site.parameters[1]
            ratio = (steps[weight].norm() / dict(before.named_parameters())[weight].norm()).item()
            assert reading.update_ratio == pytest.approx(ratio, rel=1e-3)


def test_progress_sums_to_one_where_weights_are_shared():
    layer = nn.Linear(5, 5)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(5, 2), nn.PReLU())
    run = examine(model, squares(model, width=5)).run
    assert np.nansum(run.column("progress")) == pytest.approx(1, rel=1e-9)


def test_verdicts_do_not_depend_on_the_scale_of_the_loss():
    model = mlp()
    compute_loss = squares(model)
    reports = [examine(model, lambda scale=scale: scale * compute_loss()) for scale in (1e-6, 1.0, 65536.0)]
    codes = [[(f.code, f.where) for f in report.findings] for report in reports]
    assert codes[0] == codes[1] == codes[2]
    assert codes[0][0][0] == "UT301"
    for report in reports:
        assert report.gains[3].factors == pytest.approx(reports[1].gains[3].factors, rel=1e-5)


def book_network(seed):
    """[784, 30, 30, 30, 30, 10] with W ~ N(0, 1/n_in), b ~ N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for n_in, n_out in zip((784, 30, 30, 30, 30), (30, 30, 30, 30, 10), strict=True):
        linear = nn.Linear(n_in, n_out)
        nn.init.normal_(linear.weight, std=n_in**-0.5, generator=generator)
        nn.init.normal_(linear.bias, generator=generator)
        layers += [linear, nn.Sigmoid()]
    # In place of MNIST's images: as many pixels on (19 %), of the same mean square (0.1).
    x = 1.25 * torch.rand(1000, 784, generator=generator)
    x = x.clamp(max=1) * (torch.rand(1000, 784, generator=generator) < 0.19)
    y = functional.one_hot(torch.randint(0, 10, (1000,), generator=generator), 10).float()
    model = nn.Sequential(*layers[:-1])
    return model, lambda: functional.binary_cross_entropy_with_logits(model(x), y, reduction="sum") / 1000


def test_the_book_network():
    """Learning speeds against 2,000 seeds of the book's protocol on MNIST (2.5 and 97.5 percentiles, medians).

    An independent implementation measured them: tests/data/README.md. Other inputs of the same size move the medians
    little.
    """
    low, high = [0.0012, 0.0064, 0.0336, 0.183], [0.0044, 0.0206, 0.0935, 0.426]
    speeds = []
    for seed in range(9):
        model, compute_loss = book_network(seed)
        report = examine(model, compute_loss)
        run = report.run
        layers = [site.index for site in run.sites if site.role == "weight"]
        speeds.append([run.column("learning_speed")[i] for i in layers[:0:-1]])
        for index, name in zip(layers, ("8", "6", "4", "2", "0"), strict=True):
            assert run.column("learning_speed")[index] == pytest.approx(run.reading(index).learning_speed)
            assert run.sites[index].module == name
        for gain in report.gains[2:]:
            assert gain.factors["unattributed"] == pytest.approx(1, abs=1e-5)
            assert np.prod(list(gain.factors.values())) == pytest.approx(gain.gain, rel=1e-9)
        assert {"UT101", "UT104"} <= {finding.code for finding in report.findings}
    median = np.median(speeds, axis=0)
    assert (median > low).all()
    assert (median < high).all()
    np.testing.assert_allclose(median, [0.0024, 0.0118, 0.0587, 0.293], rtol=0.35)


def test_a_healthy_network_has_no_findings():
    model = mlp(nn.Tanh)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    assert examine(model, squares(model)).findings == []


def test_repeats_say_how_sure():
    model = mlp(nn.Tanh)
    passes = iter(range(4))

    def compute_loss():
        x = torch.full((3, 12), torch.nan) if next(passes) in (1, 2) else torch.ones(3, 12)  # a second look at nan
        return model(x).square().mean()

    report = examine(model, compute_loss, repeats=3)
    assert [(f.code, round(f.confidence, 2)) for f in report.findings if f.code == "UT103"] == [("UT103", 0.33)]
    assert len(report.run) == 3


def test_repeats_are_steps_of_the_run():
    model = nn.Sequential(nn.Linear(12, 12), nn.Dropout(0.5), nn.Linear(12, 1))
    run = examine(model, squares(model), repeats=3).run
    assert len(set(run.steps["loss"])) == len(run) == 3


def test_where_nan_comes_from_in_the_forward_pass():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))

    def compute_loss():
        return torch.log(model(torch.zeros(3, 4)) * 0 - 1).mean()

    finding = next(f for f in examine(model, compute_loss).findings if f.code == "UT103")
    assert "in log," in finding.message
    assert finding.source == f"{__file__}:{compute_loss.__code__.co_firstlineno + 1}"


def test_where_nan_comes_from_in_the_backward_pass():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    x = torch.ones(3, 4)
    report = examine(model, lambda: model(x * 0 + (model[0](x) * 0).sqrt()).sum())
    finding = next(f for f in report.findings if f.code == "UT103")
    assert finding.message.startswith("The backward pass of sqrt")


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda _: None, ValueError, "returned None"),
        (lambda loss: loss.item(), TypeError, "returned a float"),
        (lambda loss: loss.detach(), ValueError, "detached"),
        (lambda loss: loss * torch.ones(2), ValueError, r"shape \(2,\)"),
        (lambda loss: loss * 1j, ValueError, "complex"),
        (lambda loss: (loss.backward(), loss)[1], ValueError, "called backward"),
    ],
)
def test_what_is_no_loss(returned, error, message):
    model = mlp()
    before = everything(model)
    with pytest.raises(error, match=message):
        examine(model, lambda: returned(squares(model)()))
    assert_same(before, everything(model))


def test_a_graph_that_is_freed_already():
    model = mlp()
    loss = squares(model)()
    loss.backward()
    with pytest.raises(ValueError, match="already freed"):
        examine(model, lambda: loss)


def test_parameters_that_are_put_in_anew_at_every_call():
    model = nn.Sequential(nn.Linear(12, 4), nn.Linear(4, 1))

    def compute_loss():
        model[0].weight = nn.Parameter(model[0].weight.detach().clone())
        return squares(model)()

    with pytest.raises(ValueError, match=r"new parameters in the place of 0\.weight"):
        examine(model, compute_loss)


def test_a_loss_of_another_model():
    other = mlp()
    with pytest.raises(ValueError, match="no gradient path"):
        examine(mlp(), squares(other))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.ReLU(), "has no parameters"),
        (nn.Linear(2, 2).requires_grad_(False), "no parameters that require grad"),
        (nn.Linear(2, 2, device="meta"), "meta device"),
    ],
)
def test_models_without_gradient(model, message):
    with pytest.raises(ValueError, match=message):
        examine(model, lambda: torch.ones(()))


def test_no_model_no_function():
    with pytest.raises(TypeError, match=r"not a torch\.nn\.Module"):
        examine(print, print)
    with pytest.raises(TypeError, match="give a function"):
        examine(mlp(), torch.ones(()))
    with pytest.raises(ValueError, match="at least one"):
        examine(mlp(), squares(mlp()), repeats=0)


def test_an_empty_batch():
    model = mlp()
    with pytest.raises(ValueError, match="the batch is empty"):
        examine(model, squares(model, rows=0))


def test_steps_and_changes_inside_the_loss_are_refused():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(RuntimeError, match=r"called SGD\.step\(\)"):
        examine(model, lambda: (optimizer.step(), squares(model)())[1])
    with pytest.raises(RuntimeError, match=r"changed 0\.0\.weight in place"):
        examine(
            model,
            lambda: (model[0][0].weight.data.mul_(1.0), model[0][0].weight.detach().mul_(1.0), squares(model)())[2],
        )


@pytest.mark.parametrize("width", [8, 256])  # both ways to sum a parameter up
def test_units_that_change_places_are_noticed(width):
    model = nn.Linear(width, width, bias=False)
    weight = model.weight

    def compute_loss():
        weight.data.copy_(weight.data.flip(0))
        return model(torch.ones(2, width)).square().mean()

    with pytest.raises(RuntimeError, match="changed weight in place"):
        examine(model, compute_loss)


def test_an_optimizer_that_cannot_be_tried():
    model = mlp()
    report = examine(model, squares(model), torch.optim.LBFGS(model.parameters()))
    assert report.run.header["optimizer"].startswith("not judged: LBFGS needs a closure")


def test_inside_no_grad_and_inference_mode():
    model = mlp()
    with torch.no_grad():
        one = examine(model, squares(model))
    x = torch.randn(3, 12)
    with torch.inference_mode():
        two = examine(model, lambda: model(x).square().mean())
    assert one.run.sites[1:3] == one.run.sites[1:3]
    assert len(one.run.sites) == len(two.run.sites)


def test_the_report_can_be_read_and_saved(tmp_path):
    model, compute_loss = book_network(0)
    report = examine(model, compute_loss)
    text = str(report)
    assert max(map(len, text.splitlines())) <= 118
    assert text.index("UT301 warning") < text.index("UT101 warning (vanishing)") < text.index("activation  weights")
    saved = json.loads(report.save(tmp_path / "report.json").read_text())
    assert [finding["code"] for finding in saved["findings"]] == ["UT301", "UT101", "UT104"]
    with pytest.raises(ValueError, match=r"can't write a report as '\.pdf'"):
        report.save(tmp_path / "report.pdf")


def test_printed_factors_multiply_to_printed_gains():
    model, compute_loss = book_network(1)
    rows = 0
    for line in terminal_report.text(examine(model, compute_loss).diagnosis, Screen(160)).splitlines():
        if line.count(" x ") == 4:
            gain, _theory, activation, weights = (float(part.split()[0]) for part in line.split(" x ")[1:])
            assert activation * weights == pytest.approx(gain, rel=0.01)
            rows += 1
    assert rows == 4
