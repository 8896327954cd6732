"""A Lightning Trainer, with and without the callback: the same bits, the same steps, and what it knows recorded."""

import logging
import re
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import undertow
from integrations.curves import curve, run_example, stepwise
from undertow.integrations import lightning as leaf
from undertow.integrations.lightning import UndertowCallback


class Module(lightning.LightningModule):
    def __init__(self, lr=0.1, optimizer=torch.optim.SGD):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 3))
        self.lr, self.kind, self.losses, self.norms = lr, optimizer, [], []

    def loss(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.losses.append(loss.item())
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def on_before_optimizer_step(self, optimizer):
        self.norms.append(float(torch.cat([p.grad.flatten() for p in self.parameters()]).norm()))

    def configure_optimizers(self):
        return self.kind(self.parameters(), lr=self.lr)


def data(rows=96, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(rows, 8, generator=generator), torch.randint(3, (rows,), generator=generator)
    return TensorDataset(x, y)


def loader(rows=96, shuffle=True):
    return DataLoader(data(rows), batch_size=8, shuffle=shuffle)


def trainer(folder, *callbacks, **settings):
    settings = {"max_epochs": 2, "logger": False, "enable_checkpointing": False} | settings
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=folder,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **settings,
    )


def fitted(folder, *callbacks, module=None, ckpt_path=None, validate=True, **settings):
    torch.manual_seed(5)
    module = module or Module()
    fits = trainer(folder, *callbacks, **settings)
    fits.fit(module, loader(), loader(24, shuffle=False) if validate else None, ckpt_path=ckpt_path)
    return module, fits, torch.rand(2).tolist()


def assert_same(ours, theirs):
    assert ours[0].losses == theirs[0].losses
    assert ours[1].global_step == theirs[1].global_step
    assert ours[2] == theirs[2]
    for name, value in ours[0].state_dict().items():
        assert torch.equal(value, theirs[0].state_dict()[name]), name


def scaled(precision="16-mixed"):
    return MixedPrecision(precision, "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))


SETTINGS = {
    "plain": dict,
    "accumulation with a remainder": lambda: {"accumulate_grad_batches": 5},
    "clipping": lambda: {"gradient_clip_val": 0.01},
    "clipping by value": lambda: {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "bfloat16": lambda: {"precision": "bf16-mixed"},
    "float16 and clipping": lambda: {"plugins": [scaled()], "gradient_clip_val": 0.01},
    "all": lambda: {"accumulate_grad_batches": 4, "gradient_clip_val": 0.01, "precision": "bf16-mixed"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_training_is_the_same_and_recorded_as_the_trainer_counts(name, tmp_path):
    plain = fitted(tmp_path, **SETTINGS[name]())
    watched = fitted(tmp_path, UndertowCallback(every=1), **SETTINGS[name]())
    assert_same(watched, plain)
    run = undertow.open_run(tmp_path / "run.undertow")
    module, fits, _ = watched
    steps, losses = curve(run)
    assert steps == list(range(fits.global_step))
    np.testing.assert_allclose(losses, stepwise(module.losses, fits.accumulate_grad_batches), rtol=1e-3)
    assert run.header["model"] == "Module"
    assert {"net.0", "net.3"} <= {site.name for site in run.sites}


def test_what_clipping_left_is_what_is_recorded(tmp_path):
    module, _, _ = fitted(tmp_path, UndertowCallback(every=1), gradient_clip_val=0.01, plugins=[scaled()])
    run = undertow.open_run(tmp_path / "run.undertow")
    np.testing.assert_allclose(curve(run, "grad_norm")[1], 0.01, rtol=1e-3)
    np.testing.assert_allclose(curve(run, "grad_norm_unclipped")[1], module.norms, rtol=1e-3)
    assert set(run.scalars["scale"]) == {1024.0}
    assert run.header["loss_scale"] != "unknown"


def test_validation_is_recorded_beside_the_loss_and_the_sanity_check_is_not(tmp_path):
    _, fits, _ = fitted(tmp_path, UndertowCallback(every=1), num_sanity_val_steps=2)
    run = undertow.open_run(tmp_path / "run.undertow")
    steps, values = curve(run, "val_loss")
    assert steps == [11.0, 23.0]
    assert values[-1] == pytest.approx(float(fits.callback_metrics["val_loss"]), rel=1e-5)
    assert "trainer/loss" not in run.scalars


def test_the_run_lies_beside_the_trainers_logs(tmp_path):
    _, fits, _ = fitted(tmp_path, UndertowCallback(), logger=CSVLogger(tmp_path))
    assert fits.log_dir.endswith("version_0")
    assert undertow.open_run(f"{fits.log_dir}/run.undertow").header["went to"]["step"] == fits.global_step


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_checkpoint_goes_on_at_its_own_step(kind, tmp_path):
    """Not behind the last step that was recorded: the first fit went four steps further than its checkpoint."""
    keep = ModelCheckpoint(tmp_path, filename="at", every_n_train_steps=8, save_top_k=1, monitor=None)
    callback = UndertowCallback(tmp_path / "mine.undertow", every=1)
    fitted(tmp_path, callback, keep, module=Module(0.01, kind), max_epochs=1, enable_checkpointing=True)
    again = [
        fitted(tmp_path, *more, module=Module(0.01, kind), ckpt_path=tmp_path / "at.ckpt", validate=False)
        for more in ((), (UndertowCallback(tmp_path / "mine.undertow", every=1),))
    ]
    assert_same(again[1], again[0])
    run = undertow.open_run(tmp_path / "mine.undertow")
    assert curve(run)[0] == list(range(24))
    assert curve(run, "backwards")[1].tolist() == list(range(1, 25))
    np.testing.assert_allclose(curve(run, "loss")[1][8:], again[1][0].losses, rtol=1e-5)
    assert [event.data["to"] for event in run.events if event.kind == "rewind"] == [8]


def test_a_new_log_folder_begins_at_the_step_of_the_checkpoint(tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="at", every_n_train_steps=8)
    fitted(tmp_path, UndertowCallback(), keep, max_epochs=1, logger=CSVLogger(tmp_path), enable_checkpointing=True)
    _, fits, _ = fitted(
        tmp_path, UndertowCallback(every=1), ckpt_path=tmp_path / "at.ckpt", logger=CSVLogger(tmp_path), validate=False
    )
    assert curve(f"{fits.log_dir}/run.undertow")[0] == list(range(8, 24))


class Vanishing(Module):
    def __init__(self):
        super().__init__()
        layers = [layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
        self.net = nn.Sequential(*layers, nn.Linear(8, 3))


def test_findings_are_in_the_trainers_log_and_stop_it_in_its_own_way(tmp_path, caplog):
    callback = UndertowCallback(every=1, stop_on=["error"])
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        _, fits, _ = fitted(tmp_path, callback, module=Vanishing(), max_epochs=400, logger=CSVLogger(tmp_path))
    assert fits.should_stop
    assert fits.global_step < 400 * 12
    text = caplog.text
    code = re.search(r"training stops after step \d+ for (UT\d+)", text)[1]
    assert f"undertow: {code} " in text
    assert "undertow show" in text
    fits.logger.save()
    assert f"undertow/{code}" in Path(fits.log_dir, "metrics.csv").read_text("utf-8").splitlines()[0]


def test_searching_for_a_learning_rate_is_not_watched(tmp_path):
    def found():
        torch.manual_seed(5)
        module = Module()
        return module, [LearningRateFinder(num_training_steps=20)]

    module, first = found()
    plain = fitted(tmp_path, *first, module=module)
    module, first = found()
    watched = fitted(tmp_path, UndertowCallback(every=1), *first, module=module)
    assert_same(watched, plain)
    run = undertow.open_run(tmp_path / "run.undertow")
    assert curve(run)[0] == list(range(watched[1].global_step))


def test_an_exception_leaves_a_finished_run(tmp_path):
    class Breaks(Module):
        def training_step(self, batch, batch_idx):
            if len(self.losses) == 5:
                raise RuntimeError("the data is gone")
            return super().training_step(batch, batch_idx)

    callback = UndertowCallback(every=1)
    with pytest.raises(RuntimeError, match="the data is gone"):
        fitted(tmp_path, callback, module=Breaks())
    assert undertow.open_run(tmp_path / "run.undertow").header["went to"]["step"] == 5
    assert not callback.session.watcher._hooks._handles


def test_early_stopping_ends_both_alike(tmp_path):
    stops = [EarlyStopping("val_loss", patience=1, min_delta=10.0) for _ in range(2)]
    plain = fitted(tmp_path, stops[0], max_epochs=9)
    watched = fitted(tmp_path, UndertowCallback(every=1), stops[1], max_epochs=9)
    assert_same(watched, plain)
    assert watched[1].global_step < 9 * 12
    assert len(curve(tmp_path / "run.undertow")[0]) == watched[1].global_step


class Adversarial(lightning.LightningModule):
    """Two optimizers, by hand."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator, self.critic, self.losses = nn.Linear(8, 8), nn.Linear(8, 1), []

    def training_step(self, batch, batch_idx):
        ours, theirs = self.optimizers()
        loss = -self.critic(self.generator(batch[0])).mean()
        self.losses.append(loss.item())
        ours.zero_grad()
        self.manual_backward(loss)
        ours.step()
        loss = (self.critic(self.generator(batch[0]).detach()) - self.critic(batch[0])).mean()
        theirs.zero_grad()
        self.manual_backward(loss)
        theirs.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=1e-3) for part in (self.generator, self.critic)]


def test_of_several_optimizers_the_first_ones_steps_count_also_from_a_checkpoint(tmp_path):
    keep = [ModelCheckpoint(tmp_path, filename="at", every_n_train_steps=16) for _ in range(2)]
    plain = fitted(tmp_path, module=Adversarial(), validate=False)
    callback = UndertowCallback(tmp_path / "mine.undertow", every=1)
    watched = fitted(tmp_path, callback, keep[0], module=Adversarial(), validate=False, enable_checkpointing=True)
    assert_same(watched, plain)
    run = undertow.open_run(tmp_path / "mine.undertow")
    assert curve(run)[0] == list(range(24))
    np.testing.assert_allclose(curve(run, "loss")[1], watched[0].losses, rtol=1e-5)
    callback = UndertowCallback(tmp_path / "mine.undertow", every=1)
    fitted(tmp_path, callback, module=Adversarial(), validate=False, max_epochs=3, ckpt_path=tmp_path / "at.ckpt")
    run = undertow.open_run(tmp_path / "mine.undertow")
    assert curve(run)[0] == list(range(len(curve(run)[0])))
    assert len(curve(run)[0]) == 36


class Quiet(Module):
    def training_step(self, batch, batch_idx):
        return self.loss(batch)


def test_a_module_compiled_as_a_whole_says_what_is_not_seen(tmp_path):
    left = []
    for callbacks in ((), (UndertowCallback(every=1),)):
        torch.manual_seed(5)
        module = Quiet()
        trainer(tmp_path, *callbacks).fit(torch.compile(module, backend="aot_eager"), loader())
        left.append(module.state_dict())
    assert all(torch.equal(value, left[1][name]) for name, value in left[0].items())
    run = undertow.open_run(tmp_path / "run.undertow")
    assert len(curve(run)[0]) == 24
    assert "compiled" in run.header["unseen"]


def test_a_trainer_of_the_older_name_takes_it_too(tmp_path):
    """The callback is made of the package that was loaded first; both trainers call it alike."""
    import pytorch_lightning

    fits = pytorch_lightning.Trainer(callbacks=[UndertowCallback(every=1)], logger=False)
    assert any(isinstance(each, UndertowCallback) for each in fits.callbacks)


def test_the_example_in_the_docstring_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"module": Module(), "loader": loader(), "validation_loader": loader(24, shuffle=False)}
    trainer = run_example(leaf, names)["trainer"]
    assert trainer.global_step == 60
    assert curve(f"{trainer.log_dir}/run.undertow", "val_loss")[0][-1] == 59


def test_a_model_of_fabrics_keeps_its_names(tmp_path):
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    net = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))
    model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    with undertow.watch(model, optimizer, tmp_path / "run.undertow", every=1):
        for _ in range(3):
            optimizer.zero_grad()
            fabric.backward(model(torch.randn(4, 8)).square().mean())
            optimizer.step()
    run = undertow.open_run(tmp_path / "run.undertow")
    assert curve(run)[0] == [0.0, 1.0, 2.0]
    assert {"0", "2"} <= {site.name for site in run.sites}
