"""Keras 3 on torch: the same bits with and without us, Keras' names and steps, what its optimizer really takes."""

import gc
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import undertow
from integrations.noted import noted, steps_of

keras = pytest.importorskip("keras")
from undertow.integrations._keras_layers import counterpart  # noqa: E402  # after Keras' backend is chosen
from undertow.integrations.keras import KerasModel, UndertowCallback, training  # noqa: E402  # after Keras' backend is chosen

X = np.random.default_rng(0).standard_normal((96, 8)).astype("float32")
Y = X.sum(1, keepdims=True)


def sequential(**layer: Any):
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="tanh", name="first", **layer),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(1, name="out"),
        ]
    )


def functional():
    block = keras.Sequential([keras.layers.Dense(8, "relu", name="b1"), keras.layers.Dense(8, name="b2")], name="block")
    x = keras.Input((8,))
    h = keras.layers.Dense(8, name="stem")(x)
    h = keras.layers.Add(name="join")([h, block(h)])
    return keras.Model(x, keras.layers.Dense(1, name="head")(h))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.many = [keras.layers.Dense(8, "tanh", name="same") for _ in range(2)]
        self.last = keras.layers.Dense(1)

    def call(self, x):
        for layer in self.many:
            x = layer(x)
        return self.last(x)


def fitted(make, optimizer, *callbacks, epochs=3, dtype="float32", **settings):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(dtype)
    try:
        model = make()
        model.compile(optimizer=optimizer(), loss="mse", metrics=["mae"])
        model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks), **settings)
    finally:
        keras.config.set_dtype_policy("float32")
    return model


def everything(model):
    return [*model.variables, *model.optimizer.variables]


OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5),
    "by value": lambda: keras.optimizers.RMSprop(0.01, clipvalue=0.01),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)),
    "averaged": lambda: keras.optimizers.SGD(0.01, use_ema=True, ema_overwrite_frequency=4),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=4, clipnorm=0.1),
    "per variable": lambda: keras.optimizers.Adafactor(0.01),
}


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("named", OPTIMIZERS)
def test_same_bits_and_steps(named: str, every: int, tmp_path: Path) -> None:
    plain = fitted(sequential, OPTIMIZERS[named])
    callback = UndertowCallback(tmp_path / "first.undertow", every=every, overhead=1.0)
    watched = fitted(sequential, OPTIMIZERS[named], callback)
    for a, b in zip(everything(plain), everything(watched), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    run = undertow.open_run(callback.session.watcher.path)
    steps = int(watched.optimizer.iterations)
    assert steps == (4 if named == "accumulated" else 18)
    assert callback.session.watcher.step == steps
    assert run.scalars["step"].max() == steps - 1
    assert not [event for event in run.events if event.kind == "trouble"]
    assert not set(vars(watched.optimizer)) & {"apply", "_clip_gradients", "_apply_weight_decay"}


@pytest.mark.parametrize("make", [functional, Subclassed])
def test_other_kinds_of_models(make, tmp_path: Path) -> None:
    plain = fitted(make, OPTIMIZERS["SGD"], epochs=1)
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    watched = fitted(make, OPTIMIZERS["SGD"], callback, epochs=1)
    for a, b in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    run = undertow.open_run(callback.session.watcher.path)
    learns = [site.module for site in run.sites if site.role == "weight"]
    expected = {functional: ["head", "block.b2", "block.b1", "stem"], Subclassed: ["dense", "same_2", "same"]}[make]
    assert [name.rstrip("_0123456789") if "dense" in name else name for name in learns] == expected
    assert all(parameter.rpartition(".")[0] in learns for parameter in run.parameters)


def test_names_are_keras_own(tmp_path: Path) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    model = fitted(sequential, OPTIMIZERS["SGD"], callback, epochs=1)
    run = undertow.open_run(callback.session.watcher.path)
    assert run.parameters == tuple(
        v.path.removeprefix(f"{model.name}/").replace("/", ".") for v in model.trainable_variables
    )
    assert {"first", "norm", "out"} <= {site.module for site in run.sites}
    assert run.header["model"] == model.name
    assert run.header["optimizer"] == "SGD"


def test_what_the_optimizer_takes_is_clipped_and_averaged(tmp_path: Path) -> None:
    """The norms recorded are those of Keras' own gradients, computed beside it."""
    seen: dict[str, list[float]] = {"before": [], "after": []}

    class Told(keras.optimizers.SGD):
        def _clip_gradients(self, grads):
            clipped = super()._clip_gradients(grads)
            for name, many in (("before", grads), ("after", clipped)):
                seen[name].append(float(sum((g.double() ** 2).sum() for g in many)) ** 0.5)
            return clipped

    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    fitted(sequential, lambda: Told(0.01, global_clipnorm=0.1, gradient_accumulation_steps=2), callback)
    run = undertow.open_run(callback.session.watcher.path)
    assert len(seen["after"]) == 9
    np.testing.assert_allclose(noted(run, "grad_norm"), seen["after"], rtol=1e-5)
    np.testing.assert_allclose(noted(run, "grad_norm_unclipped"), seen["before"], rtol=1e-5)
    assert max(seen["after"]) < 0.1001 < min(seen["before"])


def test_decay_is_part_of_the_update(tmp_path: Path) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    fitted(sequential, lambda: keras.optimizers.SGD(0.0, weight_decay=0.5), callback, epochs=1)
    run = undertow.open_run(callback.session.watcher.path)  # a rate of 0 moves nothing, and decay is multiplied by it
    assert (run.parameter_columns["update_norm"] == 0).all()
    callback = UndertowCallback(tmp_path / "second.undertow", every=1)
    fitted(sequential, lambda: keras.optimizers.SGD(1e-30, weight_decay=1e29), callback, epochs=1)
    run = undertow.open_run(callback.session.watcher.path)
    kernel = run.parameters.index("first.kernel")
    ratio = run.parameter_columns["update_norm"][:, kernel] / run.parameter_columns["weight_norm"][:, kernel]
    np.testing.assert_allclose(ratio, 0.1, rtol=1e-3)
    assert run.header["decay"] == {"weight_decay": 1e29, "decoupled": True}


def test_metrics_losses_and_rates_are_recorded(tmp_path: Path) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    model = fitted(sequential, OPTIMIZERS["schedule"], callback, validation_data=(X, Y))
    run = undertow.open_run(callback.session.watcher.path)
    history = model.history.history
    for name in ("val_loss", "val_mae", "mae"):
        np.testing.assert_allclose(noted(run, name), history[name], rtol=1e-6)
    np.testing.assert_allclose(noted(run, "loss").reshape(3, 6).mean(1), history["loss"], rtol=1e-5)
    np.testing.assert_allclose(noted(run, "lr"), 0.01 * 0.5 ** (np.arange(18) / 5), rtol=1e-5)


def test_a_second_fit_goes_on(tmp_path: Path) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    model = fitted(sequential, OPTIMIZERS["Adam"], callback, epochs=1)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
    run = undertow.open_run(callback.session.watcher.path)
    assert steps_of(run) == list(range(18))
    assert Path(callback.session.watcher.path).name == "first.undertow"


def test_frozen_layers_are_left_alone(tmp_path: Path) -> None:
    def half_frozen():
        model = sequential()
        model.get_layer("first").trainable = False
        return model

    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    fitted(half_frozen, OPTIMIZERS["Adam"], callback, epochs=1)
    run = undertow.open_run(callback.session.watcher.path)
    assert run.parameters == ("norm.gamma", "norm.beta", "out.kernel", "out.bias")


def test_scaled_losses_are_unscaled_and_skipped_steps_seen(tmp_path: Path) -> None:
    class Overflows(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                self.model.optimizer.dynamic_scale.assign(1e38)

    def optimizer():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=1024.0)

    plain = fitted(sequential, optimizer, Overflows(), epochs=1)
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    watched = fitted(sequential, optimizer, callback, Overflows(), epochs=1)
    for a, b in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    unscaled = UndertowCallback(tmp_path / "second.undertow", every=1)
    fitted(sequential, lambda: keras.optimizers.SGD(0.01), unscaled, epochs=1)
    run, other = (undertow.open_run(each.session.watcher.path) for each in (callback, unscaled))
    assert run.header["loss_scale"] == "known"
    assert noted(run, "scale")[0] == 1024
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(noted(run, name)[:2], noted(other, name)[:2], rtol=1e-3)


def test_it_stops_in_keras_way_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def deep():
        layers = [keras.layers.Dense(8, "sigmoid", name=f"d{n}") for n in range(16)]
        return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1)])

    heard: list[str] = []
    callback = UndertowCallback(
        tmp_path / "first.undertow", every=1, overhead=1.0, stop_on=["error"], on_finding=lambda f: heard.append(f.code)
    )
    with caplog.at_level(logging.WARNING, "undertow"):
        model = fitted(deep, OPTIMIZERS["SGD"], callback, epochs=200)
    assert model.stop_training
    assert callback.session.watcher.stopping is not None
    assert int(model.optimizer.iterations) < 1200
    assert f"training stops for {callback.session.watcher.stopping.code}" in caplog.text
    assert callback.session.watcher.stopping.code in heard


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                raise RuntimeError("mine")

    keras.utils.set_random_seed(0)
    model = sequential()
    model.compile(optimizer="adam", loss="mse")
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(
            X, Y, batch_size=16, verbose=0, callbacks=[UndertowCallback(tmp_path / "a.undertow", every=1), Fails()]
        )
    gc.collect()
    assert "apply" not in vars(model.optimizer)
    assert steps_of(undertow.open_run(tmp_path / "a.undertow")) == [0, 1, 2, 3]


def test_a_wrapped_torch_module_keeps_its_names(tmp_path: Path) -> None:
    import torch

    inner = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh())
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.TorchModuleWrapper(inner, name="wrapped"), keras.layers.Dense(1, name="out")]
    )
    model.compile(optimizer="sgd", loss="mse")
    callback = UndertowCallback(tmp_path / "first.undertow", every=1)
    model.fit(X, Y, verbose=0, callbacks=[callback])
    run = undertow.open_run(callback.session.watcher.path)
    assert [site.module for site in run.sites if site.role == "weight"] == ["out", "wrapped.module.0"]


def test_examine_takes_a_keras_model() -> None:
    model = sequential()
    report = undertow.examine(KerasModel(model), lambda: keras.ops.mean((model(X) - keras.ops.array(Y)) ** 2))
    assert [site.module for site in report.run.sites if site.role == "weight"] == ["out", "first"]


def test_other_backends_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"Keras runs on jax.*KERAS_BACKEND=torch"):
        UndertowCallback(tmp_path / "first.undertow")


def test_a_model_as_a_training_begins_anew_and_learns() -> None:
    model = sequential()
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1, beta_1=0.8, global_clipnorm=0.5), loss="mse")
    before = [v.numpy().copy() for v in model.variables]
    found = training(model, X, Y, batch_size=16, epochs=30, validation_data=(X, Y))
    trials = [found.run(seed=seed) for seed in (0, 0, 1)]
    assert found.steps == 180
    assert found.clip_grad_norm == 0.5
    assert trials[0].losses.tolist() == trials[1].losses.tolist() != trials[2].losses.tolist()
    assert trials[0].score > trials[0].start / 4  # both are losses with their sign turned
    for kept, v in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(kept, v.numpy())
    group = found.optimizer(found.model()).param_groups[0]
    assert [group["lr"], group["weight_decay"], *group["betas"]] == pytest.approx([0.01, 0.1, 0.8, 0.999])


def test_the_first_step_is_keras_own() -> None:
    """One batch of all rows, without dropout: torch's SGD and Keras' take the same step."""
    keras.utils.set_random_seed(0)
    model = functional()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss="mse")
    found = training(model, X, Y, batch_size=len(X))
    ours = found.model()
    for mine, theirs in zip(ours.keras.variables, model.variables, strict=True):
        mine.assign(theirs.value)
    model.fit(X, Y, batch_size=len(X), epochs=2, verbose=0, shuffle=False)
    optimizer = found.optimizer(ours.train())
    for _ in range(2):
        optimizer.zero_grad()
        found.loss(ours, next(iter(found.batches()))).backward()
        optimizer.step()
    for mine, theirs in zip(ours.keras.variables, model.variables, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)


def images(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((9, 9, 2)), *layers])


def counterparts() -> dict[str, Any]:
    of = keras.layers
    return {
        "dense": sequential(),
        "functional": keras.Model(x := keras.Input((8,)), of.Dense(2, "gelu")(of.LayerNormalization()(x))),
        "convolutions": images(
            of.Conv2D(3, 3, padding="same", activation="relu"),
            of.BatchNormalization(),
            of.MaxPooling2D(),
            of.Conv2D(4, 2, strides=2, use_bias=False),
            of.LeakyReLU(),
            of.Flatten(),
            of.Dense(3, "softmax"),
        ),
        "pooled": images(of.Conv2D(3, 3), of.Activation("silu"), of.GlobalAveragePooling2D(), of.Dense(3)),
        "sequences": keras.Sequential([keras.Input((9, 2)), of.Conv1D(3, 3, groups=1), of.Dense(2), of.Softmax()]),
    }


def test_a_chain_of_layers_is_the_same_in_torchs_own() -> None:
    for name, model in counterparts().items():
        fresh = type(model).from_config(model.get_config())
        for kind in (model, fresh):
            made = counterpart(kind).eval()
            x = torch.randn(3, *kind.input_shape[1:])
            with torch.no_grad():
                torch.testing.assert_close(made(x), kind(x, training=False), msg=name)
            assert sum(p.numel() for p in made.parameters()) == sum(v.value.numel() for v in kind.trainable_variables)


def test_what_is_no_chain_keeps_keras_layers_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    recurrent = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(3, name="memory")])
    for model, why in ((functional(), "layer block is a Sequential"), (recurrent, "layer memory is a LSTM")):
        model.compile("sgd", loss="mse")
        caplog.clear()
        x, y = (np.ones((8, *shape[1:]), "float32") for shape in (model.input_shape, model.output_shape))
        found = training(model, x, y)
        assert isinstance(found.model(), KerasModel)
        assert np.isfinite(found.run(steps=2).losses).all()
        (told,) = caplog.messages
        assert told.startswith(f"undertow: {why}, so remedies that exchange or draw layers don't reach this")


def test_the_doctors_diagnosis_of_a_model() -> None:
    layers = [keras.layers.Dense(8, "sigmoid", name=f"d{n}") for n in range(14)]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    found = training(model, X, Y)
    made = found.model()
    report = undertow.examine(made, lambda: found.loss(made, next(iter(found.batches()))))
    assert "UT101" in {finding.code for finding in report.findings}
    layers = [keras.layers.Dense(16, "tanh"), keras.layers.Dense(3, "softmax", name="out")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile(keras.optimizers.SGD(0.1), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = training(model, X, (Y[:, 0] > 0).astype("int64"), batch_size=16)
    report = undertow.examine(made := found.model(), lambda: found.loss(made, found.sample(1)[0]))
    assert "UT503" in {each.code for each in report.findings}
    first = undertow.prescribe(report)[0]
    assert first.code == "UR401"
    treated, untreated = undertow.apply(first, found).run(steps=60), found.run(steps=60)
    assert treated.losses[-1] < 0.7 * untreated.losses[-1]
    model.compile("ftrl", loss="mse")
    with pytest.raises(ValueError, match="Ftrl has no counterpart here"):
        training(model, X, Y)
