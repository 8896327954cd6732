"""Several models and several losses in one process: each number is the watched model's own, or nan."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undertow.rules import over_time
from watching.loops import Left, sgd
from watching.training import Attach, Watched, loss_of, net

Losses = dict[str, list[float]]


def actor_and_critic(attach: Attach, kept: Losses, both: bool = False) -> Left:
    """Train an actor beside a critic whose losses are far larger, and whose gradients are clipped."""
    actor, critic = net(out=4), nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 1))
    ours, theirs = sgd(actor), torch.optim.SGD(critic.parameters(), lr=1e-6)
    if both:
        attach(nn.ModuleDict({"actor": actor, "critic": critic}), [ours, theirs])
    else:
        attach(actor, ours)
    for _ in range(40):
        states = torch.randn(16, 8)
        with torch.no_grad():
            actions = actor(states)
        theirs.zero_grad()
        loss = 1e4 * (critic(actions) - torch.randn(16, 1)).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(critic.parameters(), 1e-3)
        theirs.step()
        kept["critic"].append(loss.item())
        ours.zero_grad()
        loss = -critic(actor(states)).mean()
        loss.backward()
        ours.step()
        kept["actor"].append(loss.item())
    return actor, []


@pytest.mark.parametrize("every", [1, 3])
def test_an_actors_numbers_are_none_of_the_critics(every: int, watched: Watched) -> None:
    kept: Losses = {"actor": [], "critic": []}
    _, run = watched(lambda attach: actor_and_critic(attach, kept), every=every, overhead=1.0)
    at = run.scalars["step"].astype(int)
    np.testing.assert_allclose(run.scalars["loss"], np.array(kept["actor"])[at], rtol=1e-5)
    np.testing.assert_allclose(run.scalars["grad_norm_unclipped"], run.scalars["grad_norm"], rtol=1e-5)
    assert run.scalars["backwards"].tolist() == (at + 1).tolist()
    assert not {"UT403", "UT405"} & {found.code for found in over_time(run)}


def test_each_optimizer_has_a_curve_of_its_own(watched: Watched) -> None:
    kept: Losses = {"actor": [], "critic": []}
    _, run = watched(lambda attach: actor_and_critic(attach, kept, both=True), every=1)
    np.testing.assert_allclose(run.scalars["loss"], kept["actor"], rtol=1e-5)
    np.testing.assert_allclose(run.scalars["loss/critic"], kept["critic"], rtol=1e-5)
    assert run.header["losses"] == {"loss": "SGD", "loss/critic": "SGD"}


@pytest.mark.parametrize("order", ["critic first", "generator first", "both passes first", "interleaved"])
def test_a_gans_losses_are_told_apart_in_whatever_order(order: str, watched: Watched) -> None:
    kept: Losses = {"g": [], "d": []}

    def loop(attach: Attach) -> Left:
        model = nn.ModuleDict({"generator": net(out=4), "critic": net(out=1)})
        model["critic"][0] = nn.Linear(4, 12)
        generator, critic = model["generator"], model["critic"]
        of_g, of_d = sgd(generator), sgd(critic)
        attach(model, [of_g, of_d])

        def loss_g() -> Tensor:
            return -critic(generator(torch.randn(8, 8))).mean()

        def loss_d() -> Tensor:
            return 5 + critic(generator(torch.randn(8, 8)).detach()).mean() - critic(torch.randn(8, 4)).mean()

        def backward(name: str) -> None:
            loss = loss_g() if name == "g" else loss_d()
            loss.backward()
            kept[name].append(loss.item())

        turns = {
            "critic first": ("zero", "d", of_d, "zero", "g", of_g),
            "generator first": ("zero", "g", of_g, "zero", "d", of_d),
            "both passes first": ("zero", "g", "d", of_g, of_d),
            "interleaved": ("zero", "d", "g", of_d, of_g),
        }[order]
        for _ in range(6):
            for turn in turns:
                if turn == "zero":
                    model.zero_grad()
                elif isinstance(turn, str):
                    backward(turn)
                else:
                    turn.step()
        return model, []

    _, run = watched(loop, every=1)
    np.testing.assert_allclose(run.scalars["loss"], kept["g"], rtol=1e-5)
    ours = run.scalars["loss/critic"]
    theirs = np.array(kept["d"])[: len(ours)]
    if (
        order == "generator first"
    ):  # a step goes from one of the generator's to its next: the critic's is in the next one
        ours, theirs = ours[1:], theirs[:-1]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_what_is_computed_before_anothers_step_keeps_its_names(watched: Watched) -> None:
    """Of two graphs that take turns each is recorded, and the generator's, made before the critic steps, has names."""

    def loop(attach: Attach) -> Left:
        model = nn.ModuleDict({"generator": net(out=4), "critic": nn.Sequential(nn.Linear(4, 12), nn.ReLU())})
        generator, critic = model["generator"], model["critic"]
        of_g, of_d = sgd(generator), sgd(critic)
        attach(model, [of_g, of_d])
        for _ in range(24):
            fake = generator(torch.randn(8, 8))
            of_d.zero_grad()
            (critic(fake.detach()).mean() - critic(torch.randn(8, 4)).mean()).backward()
            of_d.step()
            of_g.zero_grad()
            (-critic(fake).mean()).backward()
            of_g.step()
        return model, []

    _, run = watched(loop, every=1)
    graphs = [run, *run.other_graphs]
    assert sorted(map(len, graphs)) == [12, 12]
    (of_generator,) = [each for each in graphs if any(site.module == "generator.0" for site in each.sites)]
    named = {site.module for site in of_generator.sites if site.op in ("tanh", "relu", "addmm")}
    assert named == {*(f"generator.{n}" for n in range(7)), "critic.0", "critic.1"}


def test_progress_is_a_share_of_each_ones_own_loss(watched: Watched) -> None:
    """The critic's gradients are a million times the actor's; where a loss is both optimizers', shares are of both."""
    kept: Losses = {"actor": [], "critic": []}
    _, run = watched(lambda attach: actor_and_critic(attach, kept, both=True), every=1)
    for name in ("actor", "critic"):
        mine = [place for place, each in enumerate(run.parameters) if each.startswith(name)]
        whole = np.nansum(run.parameter_columns["progress"][:, mine], axis=1)
        np.testing.assert_allclose(whole, 1.0, rtol=1e-3)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("order", [1, -1])
def test_a_joint_loss_is_both_optimizers(order: int, every: int, watched: Watched) -> None:
    """Muon and AdamW, or an encoder's and a decoder's: one curve, and a step is over when both have stepped."""
    kept: list[float] = []

    def loop(attach: Attach) -> Left:
        model = nn.ModuleDict({"encoder": net(out=8), "decoder": net()})
        optimizers = [sgd(model["encoder"]), sgd(model["decoder"])]
        attach(model, optimizers)
        for _ in range(6):
            model.zero_grad()
            loss = nn.functional.cross_entropy(
                model["decoder"](model["encoder"](torch.randn(4, 8))), torch.arange(4) % 3
            )
            loss.backward()
            for each in optimizers[::order]:
                each.step()
            kept.append(loss.item())
        return model, []

    _, run = watched(loop, every=every, overhead=1.0)
    at = run.scalars["step"].astype(int)
    assert at[-1] == 5
    np.testing.assert_allclose(run.scalars["loss"], np.array(kept)[at], rtol=1e-5)
    assert "loss/decoder" not in run.scalars
    assert run.header["losses"] == {"loss": "SGD, SGD"}
    assert len(run) == len(range(0, 6, every))
    assert (run.parameter_columns["update_norm"] > 0).all()
    np.testing.assert_allclose(np.nansum(run.parameter_columns["progress"], axis=1), 1.0, rtol=1e-3)


def test_a_norm_of_others_gradients_is_not_taken_for_what_clipping_found(watched: Watched) -> None:
    """Somebody takes the norms of a copy's gradients, as many and of the same shapes; then clips our own."""
    before: list[float] = []

    def loop(attach: Attach) -> Left:
        model, other = net(), net()
        optimizer = sgd(model)
        attach(model, optimizer)
        for _ in range(6):
            model.zero_grad()
            (1e3 * loss_of(other)).backward()
            loss_of(model).backward()
            nn.utils.clip_grad_norm_(other.parameters(), 1e-4)
            before.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.05)))
            optimizer.step()
        return model, []

    for every in (1, 100):
        before.clear()
        _, run = watched(loop, every=every, overhead=1.0)
        at = run.scalars["step"].astype(int)
        np.testing.assert_allclose(run.scalars["grad_norm_unclipped"], np.array(before)[at], rtol=1e-5)
