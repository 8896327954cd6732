"""`FullStep`: reads everything at one step, a backward pass under the tape and what the optimizer makes of it."""

import contextlib
import functools
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from undertow.measure import Meter, Part, Reading, Readout
from undertow.watching.backward_tape import BackwardTape
from undertow.watching.light_step import Process
from undertow.watching.loop_reader import LoopFacts, LoopReader
from undertow.watching.pass_counter import PassHistory
from undertow.watching.step_facts import ArrivedFacts, StepFacts, norms
from undertow.watching.step_payload import ParameterReach, StepPayload, TapedGraph
from undertow.watching.step_processor import StepProcessor
from undertow.watching.step_time import StepTime
from undertow.watching.update_reader import UpdateReader
from undertow.watching.updated_parameters import UpdatedParameters
from undertow.watching.watch_target import WatchTarget


class FullStep:
    """Reads all numbers of a step: those of a `LightStep`, of a backward pass, and of the optimizer's step.

    Args:
        target: what is watched.
        meter: keeps numbers on their devices.
        updates: reads what optimizers do.
        tape: of a backward pass; None to read the optimizers' side only.
        segment: between which two of the iteration's optimizer steps the backward pass to be taped is.
        thorough: also take the norms that gradients have after the backward pass: it tells whether somebody changes
            them afterwards whom nobody hears.
        precise: add up squares in float64.

    Attributes:
        facts: what a light step would read.
        nbytes: what the writer's thread has to hold of it.
        several: a step may have several backward passes.
        apart: whether every optimizer steps for losses of its own.
    """

    nbytes = 1 << 16
    several = True
    apart = True

    def __init__(
        self,
        target: WatchTarget,
        meter: Meter,
        updates: UpdateReader,
        tape: BackwardTape | None = None,
        *,
        segment: int = 0,
        thorough: bool = False,
        precise: bool = False,
    ) -> None:
        self.facts = StepFacts(precise=precise)
        self._loop = LoopReader(target, precise)
        self._target, self._meter, self._updates, self._tape = target, meter, updates, tape
        self._segment, self._thorough = segment, thorough
        self._is_wanted = False
        self._eagerly = contextlib.ExitStack()

    def open(self) -> None:
        """Begin: the tape opens at once, as what a later pass goes through may be computed before an earlier one."""
        if self._target.eager:
            self._eagerly.enter_context(torch.compiler.set_stance("force_eager"))
        if self._tape is not None:
            self._tape.prepare()
        self.segment_begins(0)

    def segment_begins(self, segment: int) -> None:
        """Begin the part of the step that follows so many steps of other optimizers."""
        if segment == self._segment:
            self._is_wanted = True
            if self._tape is not None:
                self._tape.prepare()

    def close(self) -> None:
        """Take all hooks off; what was read stays."""
        if self._tape is not None:
            self._tape.close()
        self._eagerly.close()

    def backward_begins(self, number: int, loss: Tensor) -> None:
        """Tape a backward pass that begins at this loss, if it is wanted."""
        if self._tape is not None and self._is_wanted:
            self._tape.begins(number, loss)
        self._loop.backward_begins()

    def backward_ends(self) -> None:
        """Finish the tape, and have small numbers taken before the optimizer changes the weights."""
        if self._tape is not None and self._tape.ends():
            self._meter.settle()
            self._eagerly.close()
        self._loop.backward_ends()
        if self._thorough:
            self.facts.tensors["after backward"] = list(norms(self._target.reached_gradients(), self.facts.precise))

    def backward_failed(self) -> None:
        """Forget a backward pass that ended with an error."""
        if self._tape is not None and self._tape.fails():
            self._meter.forget()

    @property
    def taped(self) -> int:
        """Return the number of the backward pass that was taped, -1 before."""
        return -1 if self._tape is None else self._tape.backward

    def optimizer_enters(self, index: int) -> None:
        """Sample the weights before an optimizer's closure is called, which some of them call with other weights."""
        known = self._target.known(index)
        if known is None and self._target.parameters.any_gradient(index):  # SAM's, of the pass before its step
            known, _ = self._target.updated(index)
        self._updates.enters(known)

    def take_gradients(self, updated: UpdatedParameters, gradients: Sequence[Tensor | None]) -> None:
        """Read what an optimizer is about to take, and the weights before."""
        found = updated.counted(
            self._updates.before(updated, gradients, {} if self._tape is None else self._tape.units)
        )
        self.facts.take_gradients(updated.names, found)
        self._loop.taken(updated.held, found)

    def stepped(self) -> None:
        """Read what an optimizer did to the weights."""
        self._updates.after()

    @property
    def windows(self) -> int | None:
        """Count the modules whose calls were bracketed by hooks; None if no backward pass was taped."""
        return len(self._tape.called) if self._tape is not None and self._tape.finished else None

    @property
    def unheard(self) -> bool:
        """Tell whether the tape waited for a call of the model that never came."""
        return self._tape is not None and self._tape.unheard

    def send(self, passes: int) -> Process:
        """Start the transfers; what is returned has the processor take what arrives.

        Args:
            passes: number of backward passes in the step.
        """
        return functools.partial(_process, self.facts.send(), self._loop.send(), self._payload(), passes)

    def _payload(self) -> StepPayload:
        names = tuple(self._updates.names or self._target.parameters.names)
        coming = functools.partial(_arrived, self._meter.send(), self._updates.moves)
        graph, reach = self._graph(names), self._reach()
        chosen = self._target.plans.choices.chosen if self._tape is not None else None
        leaves = self._target.leaves.facts
        return StepPayload(
            graph,
            names,
            self._target.shards,
            coming,
            self._updates.rates,
            self.taped,
            reach,
            chosen,
            leaves,
            self.apart,
        )

    def _graph(self, names: tuple[str, ...]) -> TapedGraph:
        found = None if self._tape is None else self._tape.graph(self._target.plans, names)
        return TapedGraph(Readout((), (), names)) if found is None else found

    def _reach(self) -> ParameterReach | None:
        """Return the parameters that gradient didn't reach, None if no backward pass was taped."""
        if self._tape is None or not self._tape.finished or self._loop.cleared:
            return None
        unreached, called = self._updates.unreached, self._tape.called
        return ParameterReach(tuple(unreached), tuple(name for name in unreached if not _was_called(name, called)))


def _process(
    arrived: Callable[[], ArrivedFacts],
    loop: Callable[[], LoopFacts],
    payload: StepPayload,
    passes: int,
    processor: StepProcessor,
    when: StepTime,
    history: PassHistory,
) -> Callable[[], None]:
    return processor.full_step(when, arrived, loop, payload, history, passes)


def _arrived(coming: Callable[[], Reading], moves: Sequence[Callable[[], Part]]) -> Reading:
    return Reading([*coming().parts, *Reading.of(move() for move in moves).parts])


def _was_called(name: str, called: Collection[str]) -> bool:
    """Tell whether the module that holds a parameter was called."""
    return name.replace("_orig_mod.", "").rpartition(".")[0] in called
