"""`WatchTarget`: the model and the optimizers that are watched, and what is known of them beforehand."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.measure import TrainingModes
from undertow.tape import Plans
from undertow.watching.leaf_finder import LeafFinder
from undertow.watching.loss_division import AccumulationWindow
from undertow.watching.loss_scale import LossScale
from undertow.watching.pass_owners import PassWitness, leaves, roots
from undertow.watching.ranks import Ranks
from undertow.watching.step_payload import Shards
from undertow.watching.training_thread import TrainingThread
from undertow.watching.unwrapping import bases
from undertow.watching.updated_parameters import UpdatedParameters
from undertow.watching.watched_parameters import WatchedParameters


@dataclass(frozen=True)
class WatchTarget:
    """The model that is watched, with its optimizers.

    Attributes:
        model: the user's own module, without what wraps it.
        optimizers: the first one's steps count.
        parameters: what they hold of the model.
        loss_scale: of mixed precision.
        ranks: the processes that train together.
        tapes: whether backward passes are taped at all.
        eager: whether the model is compiled, and has to be run without that where it is taped.
        thread: the thread that trains.
        loss_parts: whether losses of several backward passes add up to the step's; None to tell by their graphs.
        window: the number of passes that losses are divided by, as steps show it.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    parameters: WatchedParameters
    loss_scale: LossScale
    ranks: Ranks
    tapes: bool = True
    eager: bool = False
    thread: TrainingThread = field(default_factory=TrainingThread)
    loss_parts: bool | None = None
    window: AccumulationWindow = field(default_factory=AccumulationWindow)

    _updated: dict[int, UpdatedParameters] = field(default_factory=dict)

    def updated(self, optimizer: int) -> tuple[UpdatedParameters, list[Tensor | None]]:
        """Return the parameters of one optimizer that gradient reached, and the gradients of all that it holds."""
        held, gradients = self.parameters.gradients(optimizer)
        layouts = [None if g is None else g.layout for g in gradients]
        known = self._updated.get(optimizer)
        if known is None or known.held is not held or known.layouts != layouts:
            known = self._updated[optimizer] = UpdatedParameters(held, self.parameters.names, layouts)
        return known, gradients

    def known(self, optimizer: int) -> UpdatedParameters | None:
        """Return the parameters of one optimizer that gradient reached at the last full or light step, if any did."""
        return self._updated.get(optimizer)

    def reached_gradients(self) -> list[Tensor]:
        """Return the gradients that there are, of the parameters that this process answers for."""
        return [p.grad for each in self.parameters if each.counts and (p := each.parameter).grad is not None]

    def gradient_version(self) -> int:
        """Count the changes in place of one gradient: whoever clips or unscales changes them all."""
        gradients = (each.parameter.grad for each in self.parameters)
        # autograd counts every change of a tensor in place, and reading the count doesn't wait for a device.
        return next((g._version for g in gradients if g is not None), -1)

    def reached_from(self, tensors: object) -> bool:
        """Tell whether gradient flows from these tensors to the model: only their graph is looked at."""
        begun = roots(tensors)
        if self.parameters.sharded:  # computes with other tensors than it holds
            return bool(begun)
        return bool(leaves(begun, self.parameters.identities.union(id(p) for _, p in self.parameters.others)))

    @cached_property
    def witness(self) -> PassWitness:
        """Know whose the backward passes are."""
        return PassWitness(self.parameters)

    @cached_property
    def curves(self) -> tuple[str, ...]:
        """Name the curves of the optimizers' losses: ``loss`` is the first one's, ``loss/critic`` that of a critic."""
        names = ["loss"]
        for index in range(1, len(self.optimizers)):
            paths = [each.name.split(".")[:-1] for each in self.parameters.of(index)]
            alike = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
            common = ".".join(parts[0] for parts in alike)
            name = f"loss/{common or index}"
            names.append(name if name not in names else f"loss/{index}")
        return tuple(names)

    @cached_property
    def bases(self) -> tuple[Sequence[Optimizer], ...]:
        """Find, for each optimizer, those that it holds and that may step its parameters."""
        return tuple(bases(optimizer) for optimizer in self.optimizers)

    @property
    def shards(self) -> Shards:
        """Return how this process's numbers are parts of a whole."""
        return Shards(self.ranks.world if self.ranks.averaged else 1, self.parameters.sharded)

    @cached_property
    def leaves(self) -> LeafFinder:
        """Know what else takes gradient than the model's parameters."""
        return LeafFinder(self.model, self.optimizers)

    @cached_property
    def modes(self) -> TrainingModes:
        """Know the modules that behave otherwise in evaluation."""
        return TrainingModes(self.model)

    @cached_property
    def plans(self) -> Plans:
        """Keep what full steps found out about the model's graph."""
        return Plans(self.model)
