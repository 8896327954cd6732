"""A transformers Trainer, with and without the callback: the same bits, the same steps, and what it knows recorded."""

import logging
import re

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import undertow
from integrations.curves import curve, run_example
from integrations.texts import Tokens, llama
from undertow.integrations import hf
from undertow.integrations.hf import UndertowCallback


class Keeps(TrainerCallback):
    """What the trainer knows of each step."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


def trainer(folder, model=None, evaluates=True, **settings):
    usual = {"num_train_epochs": 2, "save_strategy": "no", "eval_strategy": "epoch", "learning_rate": 1e-2}
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=5,
        **(usual | settings),
    )
    validation = Tokens(16, 1) if evaluates else None
    model = llama() if model is None else model
    return Trainer(model, arguments, train_dataset=Tokens(), eval_dataset=validation, callbacks=[Keeps()])


def kept(of):
    logs = next(each for each in of.callback_handler.callbacks if isinstance(each, Keeps)).logs
    return [each for each in logs if "loss" in each]


def losses(of):
    return [each["loss"] for each in kept(of)]


def trained(folder, watch=False, resume=None, model=None, **settings):
    trains = trainer(folder, model() if model else None, **settings)
    if watch:
        trains.add_callback(UndertowCallback(trains, every=1))
    trains.train(resume_from_checkpoint=resume)
    return trains, torch.rand(2).tolist()


def assert_same(ours, theirs):
    assert ours[0].state.global_step == theirs[0].state.global_step
    assert ours[1] == theirs[1]
    ours, theirs = ours[0], theirs[0]
    assert losses(ours) == losses(theirs)
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, theirs.model.state_dict()[name]), name


def lora():
    return get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))


SETTINGS = {
    "plain": {},
    "accumulation with a remainder": {"gradient_accumulation_steps": 5},
    "clipping": {"max_grad_norm": 0.01},
    "no clipping": {"max_grad_norm": 0.0},
    "bfloat16": {"bf16": True},
    "all": {"gradient_accumulation_steps": 4, "bf16": True, "max_grad_norm": 0.01},
    "checkpointed blocks": {"gradient_checkpointing": True},
    "peft": {"model": lora},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_training_is_the_same_and_recorded_as_the_trainer_counts(name, tmp_path):
    plain = trained(tmp_path, **SETTINGS[name])
    watched = trained(tmp_path, watch=True, **SETTINGS[name])
    assert_same(watched, plain)
    run = undertow.open_run(tmp_path / "run.undertow")
    steps, recorded = curve(run)
    assert steps == list(range(watched[0].state.global_step))
    np.testing.assert_allclose(recorded, losses(watched[0]), rtol=1e-4)
    np.testing.assert_allclose(curve(run, "trainer/loss")[1], recorded, rtol=1e-4)
    norms = [each["grad_norm"] for each in kept(watched[0])]
    tolerance = 1e-2 if "bf16" in SETTINGS[name] else 1e-4
    np.testing.assert_allclose(curve(run, "grad_norm_unclipped")[1], norms, rtol=tolerance)


def test_evaluation_is_recorded_under_its_own_names(tmp_path):
    trains, _ = trained(tmp_path, watch=True)
    run = undertow.open_run(tmp_path / "run.undertow")
    steps, values = curve(run, "eval_loss")
    assert steps == [11.0, 23.0]
    assert values[-1] == pytest.approx(trains.evaluate()["eval_loss"], rel=1e-5)
    assert [name for name in run.scalars if name.startswith("eval_")] == ["eval_loss"]


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd"])
def test_a_checkpoint_goes_on_at_its_own_step(optimizer, tmp_path):
    """Not behind the last step that was recorded: the first training went on after its checkpoint."""
    settings = {
        "optim": optimizer,
        "save_strategy": "steps",
        "save_steps": 16,
        "evaluates": False,
        "eval_strategy": "no",
    }
    trained(tmp_path, watch=True, **settings)
    again = [trained(tmp_path, watch, tmp_path / "checkpoint-16", **settings) for watch in (False, True)]
    assert_same(again[1], again[0])
    run = undertow.open_run(tmp_path / "run.undertow")
    assert curve(run)[0] == list(range(24))
    assert curve(run, "backwards")[1].tolist() == list(range(1, 25))
    assert [event.data["to"] for event in run.events if event.kind == "rewind"] == [16]


class Deep(nn.Module):
    """Twelve layers of sigmoid: the first ones don't learn."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [layer for _ in range(12) for layer in (nn.Linear(12, 12), nn.Sigmoid())]
        self.net = nn.Sequential(*layers, nn.Linear(12, 3))

    def forward(self, input_ids, labels):
        out = self.net(input_ids / 32.0)
        return {"loss": nn.functional.cross_entropy(out, labels[:, 0].clamp(0) % 3), "logits": out}


@pytest.mark.parametrize("handed_over", [True, False])
def test_findings_are_in_the_trainers_log_and_stop_it_in_its_own_way(handed_over, tmp_path, caplog):
    trains = trainer(tmp_path, Deep(), num_train_epochs=60, eval_strategy="no")
    trains.add_callback(UndertowCallback(trains if handed_over else None, every=1, stop_on=["error"]))
    with caplog.at_level(logging.INFO, "transformers"):
        logging.getLogger("transformers").addHandler(caplog.handler)  # which passes nothing on to others
        trains.train()
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert trains.state.global_step < 60 * 12
    code = re.search(r"training stops after step \d+ for (UT\d+)", caplog.text)[1]
    assert f"undertow: {code} " in caplog.text
    assert any(f"undertow/{code}" in each for each in trains.state.log_history) == handed_over
    # To log a finding doesn't cost the trainer its own line for that step.
    assert sum("loss" in each for each in trains.state.log_history) == trains.state.global_step


def test_early_stopping_and_the_best_model_are_the_trainers(tmp_path):
    settings = {"num_train_epochs": 9, "save_strategy": "epoch", "load_best_model_at_end": True}
    left = []
    for watch in (False, True):
        trains = trainer(tmp_path, **settings)
        trains.add_callback(EarlyStoppingCallback(1, 10.0))
        if watch:
            trains.add_callback(UndertowCallback(trains, every=1))
        trains.train()
        left.append((trains, torch.rand(2).tolist()))
    assert_same(left[1], left[0])
    assert len(curve(tmp_path / "run.undertow")[0]) == left[1][0].state.global_step


def test_an_exception_leaves_what_was_recorded_and_the_next_training_is_watched(tmp_path):
    class Breaks(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise RuntimeError("no room")

    trains = trainer(tmp_path)
    callback = UndertowCallback(trains, every=1)
    trains.add_callback(callback)
    trains.add_callback(Breaks())
    with pytest.raises(RuntimeError, match="no room"):
        trains.train()
    first = callback.session.watcher
    trains.remove_callback(Breaks)
    trains.train()
    assert not first._hooks._handles
    assert len(curve(callback.session.watcher.path)[0]) == 24


def test_a_compiled_model_says_what_is_not_seen(tmp_path):
    settings = {"torch_compile": True, "torch_compile_backend": "aot_eager", "max_steps": 4, "eval_strategy": "no"}
    trains = trainer(tmp_path, Deep(), **settings)
    trains.add_callback(UndertowCallback(trains, every=1))
    trains.train()
    run = undertow.open_run(tmp_path / "run.undertow")
    assert run.header["compiled"] is True
    assert "compiled" in run.header["unseen"]
    assert curve(run)[0] == [0.0, 1.0, 2.0, 3.0]


def test_the_example_in_the_docstring_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_example(hf, {"model": llama(), "train": Tokens(), "validation": Tokens(16, 1)})
    assert names["trainer"].state.global_step == 6
    assert curve("out/run.undertow", "eval_loss")[0] == [1.0, 3.0, 5.0]
