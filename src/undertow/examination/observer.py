"""Note facts that an examination sees beside its tape, for the Run's header; further passes where they are needed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.examination.forward_facts import ForwardFacts
from undertow.examination.independence import Call, CallCatcher, examples_mixed
from undertow.examination.loss_terms import gradients_of, terms_of
from undertow.examination.surroundings import random_states, set_random_states
from undertow.measure import Reading, by_kind, can_wait, host_norm, norms_of_small
from undertow.measure.signals import plain
from undertow.tape.other_leaves import describe_leaves, leaves_of
from undertow.tape.tensors import tensors_in

Facts = dict[str, Any]

FIRST = 16
"""Numbers spread over a tensor on the host that are looked at first: most often one of them isn't zero."""


class Observer:
    """Listens to one forward pass while it is entered.

    Args:
        model: the one that is examined.
        optimizers: the user's.
        states: of the random numbers some time before, as `random_states` returned them.

    Attributes:
        terms: how many terms the loss is the sum of, 0 where that can't be told; known after `facts`.
        leaves, told: tensors that take gradient and are no parameters of the model, and what was said of each.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer], states: dict[str, Any] | None = None) -> None:
        self._model, self._optimizers = model, optimizers
        self._seen, self._caught = ForwardFacts(model), CallCatcher(model, states)
        self._seen.suspicion.within = lambda: self._caught.open
        self.terms = 0
        self.leaves: list[Tensor] = []
        self.told: list[Facts] = []

    def __enter__(self) -> Self:
        self._caught.__enter__()
        self._seen.__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *error: Any) -> None:
        self._seen.__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        self._caught.__exit__()

    @property
    def suspect(self) -> Call | None:
        """The call of the model, if examples may have met in it."""
        call = self._caught.call
        if call is None:
            return None
        batch = next((t for t in tensors_in((call.args, call.kwargs)) if t.dim() > 0), None)
        return call if batch is None or self._seen.suspicion.is_raised(len(batch)) else None

    def line_of(self, number: int) -> str:
        """``file:line`` of the call in which a Node of this number was born; empty if nobody saw it."""
        return self._seen.line_of(number)

    def facts(self, loss: Tensor, leaves: Sequence[Tensor]) -> Facts:
        """Return what is known before the backward pass; call it once, between the two.

        Args:
            loss: what the forward pass ended in.
            leaves: tensors that take gradient and are no parameters of the model.
        """
        self.terms = len(terms_of(loss, self._seen.scalars, self._seen))
        self._seen.scalars.clear()
        call = self._caught.call
        given = set() if call is None else {id(t) for t in (*call.args, *call.kwargs.values())}
        self.leaves = list(leaves)
        self.told = describe_leaves(self._model, leaves, loss, self._optimizers, given)
        return {**self._seen.of(loss), "other leaves": self.told}

    @property
    def strangers(self) -> bool:
        """Tell whether there are weights that nobody knows where they are kept."""
        return any(not t["name"] and not t["argument"] and (t["parameter"] or t["weight"]) for t in self.told)


def zero_gradients(parameters: Mapping[str, Tensor], reading: Reading) -> Facts:
    """Return names of parameters whose gradient is there and zero, and of those of them that are zero themselves.

    Args:
        parameters: by name.
        reading: with the gradients' norms, which tell where to look; as `measure_parameters` had them taken.

    Example:
        >>> w = nn.Parameter(torch.zeros(2))
        >>> from undertow.measure import Meter, measure_parameters
        >>> w.grad, meter = torch.zeros(2), Meter()
        >>> _ = measure_parameters({"w": w}, None, meter)
        >>> zero_gradients({"w": w}, meter.read())
        {'zero gradients': ['w'], 'zero values': ['w']}
    """
    norms = reading.column("grad of parameter", len(parameters))
    gradients = ((name, p.grad) for (name, p), norm in zip(parameters.items(), norms, strict=True) if norm == 0)
    silent = [(name, plain(grad)) for name, grad in gradients if grad is not None and grad.numel()]
    zero = {name for name, grad in silent if grad.is_cpu}  # norms on the host are zero for zeros alone
    zero |= _all_zero([(name, grad) for name, grad in silent if not grad.is_cpu])
    values = [(name, plain(parameters[name].detach())) for name in parameters if name in zero]
    return {"zero gradients": [name for name in parameters if name in zero], "zero values": sorted(_all_zero(values))}


def _all_zero(tensors: Sequence[tuple[str, Tensor]]) -> set[str]:
    """The squares of what is small may vanish, so that only what has no norm is looked at closely."""
    found = {name for name, norm in norms_of_small(tensors).items() if norm == 0}
    found |= {name for name, x in tensors if x.is_cpu and not (can_wait(x) or _some(x).any() or host_norm(x))}
    for names, group in by_kind((name, x) for name, x in tensors if not x.is_cpu):
        real = [torch.view_as_real(each) if each.is_complex() else each for each in group]
        norms = torch.stack(torch._foreach_norm(real)).tolist()
        found |= {n for n, norm, x in zip(names, norms, real, strict=True) if norm == 0 and not x.count_nonzero()}
    return found


def _some(x: Tensor) -> Tensor:
    return x.reshape(-1)[:: max(1, x.numel() // FIRST)]


def look_closer(
    observer: Observer, model: nn.Module, compute_loss: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter]
) -> Facts:
    """Make the further passes that an observed one gives reason for.

    Returns:
        ``examples mixed`` where one example's output depends on another's input, ``terms`` where the loss is a sum,
        ``other leaves`` with what was found ``new`` in a second pass. Random numbers are as before; gradients are not
        touched.
    """
    suspect, again = observer.suspect, bool(observer.terms or observer.strangers)
    if suspect is None and not again:
        return {}
    before = random_states()
    facts: Facts = {}
    try:
        if suspect is not None:
            facts["examples mixed"] = examples_mixed(model, suspect)
        if again:
            facts |= _second_pass(observer, compute_loss, parameters)
    finally:
        set_random_states(before)
    return {name: fact for name, fact in facts.items() if fact}


def _second_pass(
    observer: Observer, compute_loss: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter]
) -> Facts:
    with ForwardFacts() as seen:
        loss = compute_loss()
    facts: Facts = {}
    if observer.strangers:
        known = {id(leaf) for leaf in leaves_of(loss)}
        new = {id(leaf) for leaf in observer.leaves} - known
        facts["other leaves"] = [
            {**told, "new": id(leaf) in new} for told, leaf in zip(observer.told, observer.leaves, strict=True)
        ]
    if observer.terms:
        # A graph that can't be gone through twice: reentrant checkpoints, the user's own functions.
        with suppress(RuntimeError):
            facts["terms"] = gradients_of(terms_of(loss, seen.scalars, seen), parameters, seen.noisy)
    return facts
