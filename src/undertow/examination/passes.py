"""One examined pass: the loss computed, checked, and backpropagated under the tape."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.examination.ahead import Ahead
from undertow.examination.dependence import DependenceFinder
from undertow.examination.observer import Observer, look_closer, zero_gradients
from undertow.examination.optimizer_facts import try_optimizers
from undertow.examination.origin import OriginFinder, OverflowFinder
from undertow.examination.surroundings import random_states, set_random_states
from undertow.examination.zeroed import zeroed_on_the_way
from undertow.measure import Meter, TrainingModes, measure_parameters, squares_fit
from undertow.record import Role, Run
from undertow.tape import Plans, Tape
from undertow.tape.members import parameters_of
from undertow.wording import few

ComputeLoss = Callable[[], Tensor]


class _NothingReachedError(Exception):
    """The training would go on without a word, and no gradient comes to any parameter of the model."""


class Passes:
    """The passes of one examination. What the first one finds out about the graph, those after it know.

    Args:
        model: whose modules give names.
        compute_loss: computes the loss anew each time.
        optimizers: tried on copies after each pass.

    Attributes:
        parameters: of the model, by name.
        steps_can_be_tried: whether there is an optimizer.
    """

    def __init__(self, model: nn.Module, compute_loss: ComputeLoss, optimizers: Sequence[Optimizer]) -> None:
        self._model, self._compute_loss, self._optimizers = model, compute_loss, optimizers
        self.steps_can_be_tried = bool(optimizers)
        self._plans = Plans(model, unroll=True)
        self.parameters = parameters_of(model, self._plans.modules)
        # Sharded models compute with others than they name, and free these.
        self._is_whole = all(type(p) is nn.Parameter and p.numel() > 0 for p in self.parameters.values())
        self._traced: tuple[list[str], dict[str, Any]] = [], {}
        self._closer: dict[str, Any] | None = None
        self._states: dict[str, Any] | None = None

    def examine(self, before: dict[str, Any] | None = None) -> Run:
        """One pass as a Run of one step.

        Args:
            before: the states of the random numbers, if they are known.

        A second one takes a closer look, with the same random numbers, where the first meets inf or nan (to count
        them and find the first) or gradients that float32 can't square. And where it went a way that no pass went
        before it, so that nobody knows which modules it went through.
        """
        before = self._states = before or random_states()
        try:
            run = self._measured(before)
        except _NothingReachedError as severed:
            return self._severed(before, *severed.args)
        run.header.update(self._dependence(before, run.header) | self._overflow(before, run))
        return run

    def _severed(self, before: dict[str, Any], header: dict[str, Any]) -> Run:
        """Return a Run without Sites, of a loss that no gradient leads from to the model, and where it was cut."""
        names = [name for name, p in self.parameters.items() if p.requires_grad]
        facts = {**header, "severed": True, "unreached": names, "not run": []}
        return Run(facts | self._dependence(before, facts), ())

    def _measured(self, before: dict[str, Any]) -> Run:
        meter = Meter(inflow=True, lasting=self._is_whole)
        run = self._pass(meter)
        if run is None:
            run = self._again(before, meter := Meter(inflow=True, lasting=self._is_whole))
        received = run.column("grad_output")
        finite = bool(np.isfinite([run.header["loss"], *received]).all())
        if finite and (meter.exact or squares_fit(received)):
            return run
        if finite:
            return self._again(before, Meter(precise=True, inflow=True, lasting=self._is_whole))
        with OriginFinder(self._model) as finder:
            return self._again(before, Meter(precise=True, count_nonfinite=True, lasting=self._is_whole), finder)

    def _dependence(self, before: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
        """Tell whether the loss's value depends on parameters that no gradient reaches: a third pass, forward alone."""
        names = [name for name in header["unreached"] if name not in header["not run"]]
        if names and names != self._traced[0]:
            self._traced = names, self._trace(before, names)
        return self._traced[1] if names else {}

    def _overflow(self, before: dict[str, Any], run: Run) -> dict[str, Any]:
        """Look for inf that is divided by, where a gradient is zero: it makes zeros, and the loss is as finite."""
        header = run.header
        if header["origin"] or not np.isfinite(header["loss"]) or not header["zero gradients"]:
            return {}
        if zeroed_on_the_way(run, self.parameters):
            return {}
        set_random_states(before)
        try:
            with OverflowFinder(self._model) as finder:
                self._compute_loss()
        except Exception:  # an operation that can't be watched: then nobody knows
            return {}
        return {} if finder.origin is None else {"overflow": vars(finder.origin)}

    def _trace(self, before: dict[str, Any], names: list[str]) -> dict[str, Any]:
        set_random_states(before)
        try:
            with DependenceFinder(self._model, {name: self.parameters[name] for name in names}) as finder:
                loss = self._compute_loss()
        except Exception:  # an operation that can't be watched: then nobody knows
            return {}
        used, left = finder.used(loss), finder.left_torch
        cuts = {name: finder.cut(name) for name in names if name in used}
        return {
            "cut off": {name: {} if cut is None else vars(cut) for name, cut in cuts.items()},
            "read out": [name for name in names if name in left - used],
            "unused": [name for name in names if name not in left | used],
        }

    def _again(self, before: dict[str, Any], meter: Meter, finder: OriginFinder | None = None) -> Run:
        set_random_states(before)
        self._plans.expect_news()
        run = self._pass(meter, finder)
        if run is None:  # the modules were watched, and were others again
            raise ValueError(_parameters_replaced(self._model, self.parameters))
        return run

    def ahead(self, steps: int) -> Run | None:
        """Return a pass as it would be after some of the optimizers' steps, tried on copies; None if that can't be."""
        try:
            ahead = Ahead(self._optimizers, self.parameters)
            with ahead.in_place():
                for _ in range(steps):
                    ahead.step(self._compute_loss)
                self._plans.expect_news()
                return self._pass(Meter(), ahead=ahead)
        except Exception:  # a loss that can't be computed so often, weights that can't be exchanged
            return None

    def _pass(self, meter: Meter, finder: OriginFinder | None = None, ahead: Ahead | None = None) -> Run | None:
        parameters = self.parameters
        for parameter in parameters.values():
            parameter.grad = None
        with Tape(self._plans, meter) as tape:
            observer = Observer(self._model, self._optimizers, self._states)
            with observer:
                returned: object = self._compute_loss()
            loss = _checked(returned, parameters)  # outside of the observer, who would hear of each gradient asked for
            header: dict[str, Any] = {"loss": loss.item(), **_origin(finder)}
            if loss.grad_fn is None:
                raise _NothingReachedError(header)
            if finder is not None:
                finder.close()
            if not tape.attach(loss, observer.line_of):
                return None
            _check_graph(tape)
            header |= observer.facts(loss, tape.other_leaves)
            _backward(loss, tape.other_leaves)
            header |= self._reached(tape, header) | {"evaluation": self._evaluation()}
            header["chosen"] = tape.chosen
            meter.settle()  # before optimizers are tried
            self._plans.see_tables(((n, name, p.grad) for n, (name, p) in enumerate(parameters.items())), meter)
            steps, told = self._tried(header["loss"]) if ahead is None else (ahead.trial_step(), {})
            run = tape.run(header | told, measure_parameters(parameters, steps, meter, tape.plan.units))
            run.header.update(zero_gradients(parameters, tape.reading))
        if self._closer is None and finder is None:  # once for all repeats
            self._closer = look_closer(observer, self._model, self._compute_loss, parameters)
        run.header.update(self._closer or {})
        return run

    def _tried(self, loss: float) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
        return try_optimizers(self._optimizers, self.parameters, loss)

    def _reached(self, tape: Tape, header: dict[str, Any]) -> dict[str, Any]:
        parameters = self.parameters
        unreached = [name for name, p in parameters.items() if p.requires_grad and p.grad is None]
        if len(unreached) == sum(p.requires_grad for p in parameters.values()):
            if tape.called:  # it was run for this loss
                raise _NothingReachedError({"loss": header["loss"], **_origin(None)})
            raise ValueError(
                "no gradient path leads from the loss to any parameter of the model: is it this model's loss?"
            )
        return {
            "dtypes": sorted(map(str, {p.dtype for p in parameters.values()})),
            "unreached": unreached,
            "not run": [name for name in unreached if name.rpartition(".")[0] not in tape.called],
        }

    def _evaluation(self) -> dict[str, list[str]]:
        """Name what is in evaluation mode though its network trains, as far as that is known."""
        held = {id(p) for each in self._optimizers for group in each.param_groups for p in group["params"]}
        return TrainingModes(self._model).facts(lambda p: p.grad is not None and (not held or id(p) in held))


def _origin(finder: OriginFinder | None) -> dict[str, Any]:
    """Return what the forward pass has to say of inf and nan: the operation that made them, or what brought them in."""
    origin, imported = (None, None) if finder is None else (finder.origin, finder.imported)
    if origin is not None or imported is None:
        return {"origin": None if origin is None else vars(origin)}
    return {"origin": None, "imported": vars(imported)}


def _parameters_replaced(model: nn.Module, before: dict[str, nn.Parameter]) -> str:
    new = [name for name, p in model.named_parameters() if before.get(name) is not p]
    return (
        f"compute_loss puts new parameters in the place of {few(new) or 'the ones before'} each time it is called, "
        "which no optimizer holds: write into those that are there, as in `parameter.data.copy_(values)`"
    )


def _checked(loss: object, parameters: dict[str, nn.Parameter]) -> Tensor:
    if loss is None:
        raise ValueError("compute_loss returned None: end it with `return loss`")
    if not isinstance(loss, Tensor):
        raise TypeError(f"compute_loss returned a {type(loss).__name__}: return the loss as a tensor, not its value")
    if loss.numel() != 1:
        raise ValueError(f"compute_loss returned a tensor of shape {tuple(loss.shape)}: reduce it, as in loss.mean()")
    if loss.is_complex():
        raise ValueError("compute_loss returned a complex number: return a real one, as in loss.abs()")
    if any(p.grad is not None for p in parameters.values()):
        raise ValueError("compute_loss called backward() itself: return the loss and leave that to examine")
    if not loss.requires_grad:
        raise ValueError(
            "the loss that compute_loss returned has no gradient history: something detached it "
            "(.detach(), .item(), no_grad, or a new tensor made from its value)"
        )
    return loss


def _check_graph(tape: Tape) -> None:
    layers = [site for site in tape.sites if site.role is Role.WEIGHT]
    # Some may well be: a mixture's experts that no example was sent to.
    if layers and all(0 in site.shape for site in layers):
        raise ValueError(f"the batch is empty: {layers[0].name} makes a tensor of shape {layers[0].shape} of it")


def _backward(loss: Tensor, other_leaves: Sequence[Tensor]) -> None:
    """Fill ``.grad`` of the parameters; what other tensors had there, they have again afterwards."""
    kept = [(leaf, leaf.grad) for leaf in other_leaves]
    for leaf in other_leaves:
        leaf.grad = None
    try:
        loss.backward()
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise ValueError(
            "the loss's graph is already freed: compute_loss must compute the loss anew each time it is called"
        ) from error
    finally:
        for leaf, grad in kept:
            leaf.grad = grad
