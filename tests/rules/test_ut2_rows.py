"""UT204: codes, experts and rows that are never used, and tables whose rows are rare because the data is."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rules.networks import codes
from rules.trainings import adam, train
from undertow import examine
from undertow.record import Run, Severity
from undertow.rules import over_time


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch):
    """Other tests compile; choices aren't followed where something is compiled, which our functions would disturb."""
    import torch._dynamo.utils

    monkeypatch.setattr(torch._dynamo.utils, "counters", {})


def nearest(z: Tensor, table: Tensor) -> Tensor:
    return torch.cdist(z.detach(), table.detach()).argmin(-1)


def squares(z: Tensor, table: Tensor) -> Tensor:
    distance = z.square().sum(1, keepdim=True) - 2 * z @ table.t() + table.square().sum(1)
    return distance.min(1).indices


def largest_product(z: Tensor, table: Tensor) -> Tensor:
    return torch.topk(functional.normalize(z, dim=-1) @ functional.normalize(table, dim=-1).T, 1).indices.squeeze(1)


def by_embedding(index: Tensor, table: nn.Embedding) -> Tensor:
    return table(index)


def by_index(index: Tensor, table: nn.Embedding) -> Tensor:
    return table.weight[index]


def by_ones(index: Tensor, table: nn.Embedding) -> Tensor:
    ones = torch.zeros(len(index), table.num_embeddings).scatter_(1, index[:, None], 1.0)
    return ones @ table.weight


class Quantiser(nn.Module):
    """An autoencoder whose middle is the code nearest to the encoder's output."""

    def __init__(self, spread: float, choose=nearest, look_up=by_embedding, count: int = 64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(16, 4), nn.Linear(4, 16)
        self.table, self.choose, self.look_up = nn.Embedding(count, 4), choose, look_up
        nn.init.normal_(self.table.weight, std=spread)
        if spread > 1 and choose is largest_product:
            self.table.weight.data[:] = -self.table.weight.data.abs()
            self.table.weight.data[0].abs_()
            self.encoder.bias.data[:] = 9.0

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        q = self.look_up(self.choose(z, self.table.weight), self.table)
        loss = functional.mse_loss(q, z.detach()) + 0.25 * functional.mse_loss(z, q.detach())
        return loss + functional.mse_loss(self.decoder(z + (q - z).detach()), x)


class Mixture(nn.Module):
    """Each example goes to the expert that a router ranks first."""

    def __init__(self, collapsed: bool, count: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router, self.head = nn.Linear(16, count), nn.Linear(16, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(count))
        if collapsed:
            self.router.bias.data[2] = 20.0

    def forward(self, x: Tensor) -> Tensor:
        weight, place = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            mine = (place == number).nonzero().squeeze(1)
            if len(mine):
                out = out.index_add(0, mine, weight[mine, None] * expert(x[mine]))
        return self.head(out + x)


class Words(nn.Module):
    """Words, places and kinds, of which the data has few."""

    def __init__(self, bag: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.EmbeddingBag(500, 8) if bag else nn.Embedding(500, 8)
        self.kinds, self.places, self.head = nn.Embedding(2, 8), nn.Embedding(512, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.words, nn.EmbeddingBag):
            return self.head(self.words(x))
        return self.head((self.words(x) + self.kinds(x * 0) + self.places(torch.arange(x.shape[1]))).mean(1))


def quantised(step: int = 0) -> Tensor:
    return torch.randn(128, 16, generator=torch.Generator().manual_seed(step))


def run_of(folder, model, loss, steps: int = 40) -> Run:
    return train(folder, model, adam(model, 1e-3), loss, steps)


def told(run: Run) -> list:
    return [found for found in over_time(run) if found.code == "UT204"]


def _at_once(model: nn.Module):
    return model, lambda: model(quantised()), None


def _by_itself(folder, spread: float, *how, **settings) -> Run:
    return run_of(folder, Quantiser(spread, *how, **settings), lambda model, step: model(quantised(step)))


RUNS = {
    "UT204": (lambda folder: _by_itself(folder, 60.0), lambda folder: _by_itself(folder, 0.5)),
}
CASES = {"UT204": (lambda: _at_once(Quantiser(60.0, count=16)), lambda: _at_once(Quantiser(0.5, count=16)))}


@pytest.mark.parametrize(("spread", "used", "severity"), [(20.0, 1, Severity.WARNING), (6.0, 3, Severity.NOTE)])
def test_one_batch_makes_a_note_unless_all_of_it_chose_one_code(spread, used, severity):
    (found,) = (each for each in examine(*_at_once(Quantiser(spread, count=16))).findings if each.code == "UT204")
    assert (found.severity, found.evidence["used"]) == (severity, used)


def test_one_batch_that_uses_its_codes_is_not_told():
    assert "UT204" not in {each.code for each in examine(*CASES["UT204"][1]()).findings}


def test_examine_follows_choices_also_where_something_else_was_compiled(monkeypatch):
    import torch._dynamo.utils

    monkeypatch.setattr(torch._dynamo.utils, "counters", {"frames": {"ok": 1}})
    assert "UT204" in codes(CASES["UT204"][0]())


@pytest.mark.parametrize("look_up", [by_embedding, by_index, by_ones])
@pytest.mark.parametrize("choose", [nearest, squares, largest_product])
def test_dead_codes_are_told_however_they_are_chosen_and_looked_up(tmp_path, choose, look_up):
    run = _by_itself(tmp_path, 60.0, choose, look_up)
    assert run.header["chosen"] == {"table.weight": 64}
    (found,) = told(run)
    assert (found.severity, found.where, found.from_start) == (Severity.WARNING, "table.weight", True)
    assert found.evidence["rows"] == 64
    assert found.evidence["used"] < 16


@pytest.mark.parametrize("look_up", [by_embedding, by_index, by_ones])
def test_codes_in_use_are_healthy(tmp_path, look_up):
    run = _by_itself(tmp_path, 0.5, nearest, look_up)
    assert run.header["chosen"] == {"table.weight": 64}
    assert told(run) == []


def test_experts_that_a_router_never_chooses_are_told(tmp_path):
    def loss(model: nn.Module, step: int) -> Tensor:
        x = quantised(step)
        return functional.cross_entropy(model(x), (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long())

    collapsed, balanced = (run_of(tmp_path / str(n), Mixture(n == 0), loss, 20) for n in (0, 1))
    (found,) = told(collapsed)
    assert found.where == "experts"
    assert found.evidence == {"rows": 8, "used": 1}
    assert told(balanced) == []


def test_words_that_the_data_does_not_have_are_nobodys_fault(tmp_path):
    def loss(model: nn.Module, step: int) -> Tensor:
        x = torch.randint(20, (16, 12), generator=torch.Generator().manual_seed(step))
        return functional.cross_entropy(model(x), x[:, 0] % 4)

    assert told(run_of(tmp_path, Words(), loss)) == []


@pytest.mark.parametrize("bag", [False, True])
def test_one_row_for_everything_is_told(tmp_path, bag):
    def loss(model: nn.Module, _: int) -> Tensor:
        return functional.cross_entropy(model(torch.full((64, 3), 7)), torch.arange(64) % 4)

    (found,) = told(run_of(tmp_path, Words(bag), loss))
    assert found.where == "words.weight"
    assert found.evidence["used"] == 1


def test_tokens_that_a_model_said_before_are_no_codebook():
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.cell, self.head = nn.Embedding(40, 8), nn.GRUCell(8, 16), nn.Linear(16, 40)

        def forward(self, h: Tensor) -> Tensor:
            said, out = torch.zeros(len(h), dtype=torch.long), []
            for _ in range(6):
                h = self.cell(self.words(said), h)
                out.append(self.head(h))
                said = out[-1].argmax(-1)
            return torch.stack(out, 1)

    model = Decoder()
    h = torch.randn(64, 16)
    report = examine(model, lambda: functional.cross_entropy(model(h).flatten(0, 1), torch.arange(384) % 40))
    assert report.run.header["chosen"] == {}
    assert "UT204" not in codes((model, lambda: model(h).square().mean(), None))
