"""`Unseen`: says once in a Run what of the training can't be seen, and the way to have it seen."""

from collections.abc import Collection, Sequence

from undertow.record import Site
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_time import StepTime

UNHEARD = 2
"""Full steps in a row without a backward pass, after which none is awaited."""

SENTENCES = {
    "backward": (
        "No backward pass is heard: gradients come by other ways than loss.backward() (torch.autograd.grad, "
        "torch.func.grad, a step that is compiled as a whole). Only what the optimizer takes and does is recorded. "
        "Call loss.backward() outside of what is compiled, or examine(model, compute_loss)."
    ),
    "compiled": (
        "The model is compiled: its backward pass is one operation, and its layers aren't seen. "
        "watch(..., full_tape=True) runs full steps eagerly; or examine the model before it is compiled."
    ),
    "checkpoint": (
        "Blocks are checkpointed by use_reentrant=True, and their inside isn't seen: checkpoint(..., "
        "use_reentrant=False) shows it."
    ),
}
"""By what can't be seen, the sentence that says so."""

OPAQUE = {"compiled_function": "compiled", "checkpoint_function": "checkpoint"}
"""Operations that hide others."""


class Unseen:
    """Learns of what can't be seen, and says so in the header (``unseen``) and by an event, each once.

    Args:
        writer: of the Run.
        known: what the header says already.
    """

    def __init__(self, writer: RunWriter, known: Collection[str] = ()) -> None:
        self._writer = writer
        self._told = dict.fromkeys(known, "")
        self._unheard, self._heard = 0, False

    def learn_graph(self, when: StepTime, sites: Sequence[Site]) -> None:
        """Look for operations that hide others."""
        for op, kind in OPAQUE.items():
            if kind not in self._told and any(site.op == op for site in sites):
                self._tell(when, kind)
                if kind == "compiled":  # after watch was called, as some trainers do
                    self._writer.update_header({"compiled": True})

    def learn_passes(self, when: StepTime, passes: int, gradients: bool) -> None:
        """Take the number of backward passes of a full step, and whether the optimizer took any gradient."""
        self._heard |= passes > 0
        self._unheard = 0 if passes or not gradients else self._unheard + 1
        if self._unheard >= UNHEARD and not self._heard and "backward" not in self._told:
            self._tell(when, "backward")

    def _tell(self, when: StepTime, kind: str) -> None:
        self._told[kind] = SENTENCES[kind]
        told = {each: SENTENCES[each] for each in self._told}
        self._writer.update_header({"unseen": told})
        self._writer.event(when.step, when.time, "unseen", SENTENCES[kind], {"unseen": kind})
