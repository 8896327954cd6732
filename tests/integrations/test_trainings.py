"""A trainer's settings as an `undertow.Training`: trained by it, a model ends where the trainer would have led it."""

import pickle

import lightning
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import Trainer, TrainingArguments

import undertow
from integrations.texts import Tokens, llama
from undertow.doctoring.sending import sendable
from undertow.integrations import hf
from undertow.integrations import lightning as leaf


def data():
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(96, 8, generator=generator), torch.randint(3, (96,), generator=generator))


def loader():
    return DataLoader(data(), batch_size=8)


SCHEDULES = {
    "none": lambda optimizer: optimizer,
    "each step": lambda optimizer: {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), "interval": "step"},
    },
    "each epoch": lambda optimizer: ([optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)]),
    "warm-up": lambda optimizer: {
        "optimizer": optimizer,
        "lr_scheduler": {
            "scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=100),
            "interval": "step",
        },
    },
}


class Module(lightning.LightningModule):
    def __init__(self, schedule="none"):
        super().__init__()
        self.net, self.schedule = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)), schedule

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return {"loss": loss}

    def validation_step(self, batch):
        self.log_dict({"val_acc": (self.net(batch[0]).argmax(1) == batch[1]).float().mean()})

    def configure_optimizers(self):
        return SCHEDULES[self.schedule](torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9))


def trainer(**settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return lightning.Trainer(max_epochs=2, enable_model_summary=False, **quiet, **settings)


def assert_alike(left, right):
    for name, value in left.state_dict().items():
        torch.testing.assert_close(value, right.state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_lightning_module_is_trained_as_its_trainer_does(schedule):
    settings = {"accumulate_grad_batches": 4, "gradient_clip_val": 0.1}
    training = leaf.training(lambda: Module(schedule), loader(), trainer(**settings))
    assert training.steps == 6
    ours = training.run(seed=3)
    torch.manual_seed(3)
    module = Module(schedule)
    trainer(**settings).fit(module, loader())
    assert_alike(ours.model, module)


def test_a_module_is_copied_and_stays_as_it_is():
    module = Module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    training = leaf.training(module, loader(), steps=5)
    assert len(training.run(seed=0).losses) == 5
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_the_score_is_the_monitored_metric():
    training = leaf.training(Module, loader(), validation=loader(), monitor="val_acc", mode="max")
    trial = training.run(seed=0, steps=200)
    assert 0 <= trial.start < trial.score <= 1
    with pytest.raises(ValueError, match="logs no val_loss, but val_acc"):
        leaf.training(Module, loader(), validation=loader(), monitor="val_loss").run(steps=1)


def test_precision_is_the_trainers():
    assert leaf.training(Module, loader(), trainer(precision="bf16-mixed")).autocast == torch.bfloat16
    assert leaf.training(Module, loader(), trainer(gradient_clip_val=1.0)).clip_grad_norm == 1.0
    assert leaf.training(Module, loader(), trainer()).clip_grad_norm is None


class ByHand(Module):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


class Two(Module):
    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=0.1), torch.optim.SGD(self.parameters(), lr=0.1)]


@pytest.mark.parametrize(("kind", "said"), [(ByHand, "optimizes by hand"), (Two, "2 optimizers")])
def test_what_a_training_cannot_be_is_said(kind, said):
    with pytest.raises(ValueError, match=said):
        leaf.training(kind, loader())


class Sigmoids(Module):
    def __init__(self):
        super().__init__()
        layers = [layer for _ in range(8) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
        self.net = nn.Sequential(*layers, nn.Linear(8, 3))


def test_the_doctor_takes_it(tmp_path):
    treatment = undertow.doctor(
        leaf.training(Sigmoids, loader()), budget="8s", store=tmp_path / "trials.db", processes=0
    )
    assert treatment.findings
    assert treatment.verdict in ("repaired", "nothing helps")


def test_the_trainer_is_left_as_it_was(tmp_path):
    """Also where a pass over its data is broken off: Accelerate would take that loader for the one in use."""
    trains = hf_trainer(tmp_path)
    training = hf.training(trains)
    training.run(steps=1)
    training.sample(1)
    assert trains.accelerator.gradient_state.active_dataloader is None
    assert trains.optimizer is trains.lr_scheduler is None


@pytest.mark.parametrize("kind", ["lightning", "hugging face"])
def test_other_processes_can_train_it(kind, tmp_path):
    training = leaf.training(Module, loader()) if kind == "lightning" else hf.training(hf_trainer(tmp_path))
    sent = pickle.loads(sendable(training))  # noqa: S301  # it was pickled a moment ago
    assert sent.run(steps=3).losses.tolist() == training.run(steps=3).losses.tolist()


class InOrder(Trainer):
    """Without shuffling: whose order it is isn't the question."""

    def _get_train_sampler(self, *args):
        return None


def hf_trainer(folder, optimizers=(None, None), model=None, **settings):
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        learning_rate=1e-2,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **settings,
    )
    data = {"train_dataset": Tokens(), "eval_dataset": Tokens(8)}
    return InOrder(model or llama(), arguments, optimizers=optimizers, **data)


def given(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


SETTINGS = {
    "warm-up and decay": {"warmup_steps": 2, "weight_decay": 0.1},
    "clipping": {"max_grad_norm": 0.01},
    "label smoothing": {"label_smoothing_factor": 0.1},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hugging_face_trainer_is_copied_in_all_it_does(name, tmp_path):
    trains = hf_trainer(tmp_path, **SETTINGS[name])
    training = hf.training(trains)
    assert trains.optimizer is trains.lr_scheduler is None
    ours = training.run()
    trains.train()
    assert len(ours.losses) == trains.state.global_step == 6
    assert_alike(ours.model, trains.model)
    assert ours.score == pytest.approx(-trains.evaluate()["eval_loss"], rel=0.05)


def test_so_is_an_optimizer_that_it_was_given(tmp_path):
    model = llama()
    trains = hf_trainer(tmp_path, given(model), model)
    ours = hf.training(trains).run()
    trains.train()
    assert_alike(ours.model, trains.model)


def test_losses_are_those_of_all_micro_batches(tmp_path):
    trains = hf_trainer(tmp_path, logging_steps=1)
    ours = hf.training(trains).run()
    trains.train()
    logged = [each["loss"] for each in trains.state.log_history if "loss" in each]
    np.testing.assert_allclose(ours.losses, logged, rtol=1e-3)
