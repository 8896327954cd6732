"""`ManualSteps`: stands for an optimizer that isn't torch's, whose steps the loop tells of."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer


class ManualSteps(Optimizer):
    """An optimizer that does nothing: whoever steps the weights says so before and after.

    Args:
        model: whose parameters are stepped that require grad.

    Raises:
        ValueError: there are none.

    Example:
        >>> manual, told = ManualSteps(nn.Linear(2, 1)), []
        >>> _ = manual.register_step_pre_hook(lambda *_: told.append("before"))
        >>> _ = manual.register_step_post_hook(lambda *_: told.append("after"))
        >>> manual.before(), manual.after(), told
        (None, None, ['before', 'after'])
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError("no parameter of the model requires grad: there is nothing to train")
        super().__init__(parameters, {"lr": float("nan")})

    @property
    def held(self) -> Sequence[Tensor]:
        """Return the parameters that are stepped."""
        held: Sequence[Tensor] = self.param_groups[0]["params"]
        return held

    def holds_others(self, parameters: Sequence[Tensor]) -> bool:
        """Tell whether it holds others than these."""
        return [id(p) for p in parameters] != [id(p) for p in self.held]

    def hold(self, parameters: Sequence[Tensor]) -> None:
        """Hold these from now on."""
        self.param_groups[0]["params"] = list(parameters)

    def before(self, lr: float | Tensor | None = None) -> None:
        """Tell the hooks that a step is about to be taken."""
        if lr is not None:
            self.param_groups[0]["lr"] = lr
        for hook in list(self._optimizer_step_pre_hooks.values()):
            hook(self, (self,), {})

    def after(self) -> None:
        """Tell the hooks that it was taken."""
        for hook in list(self._optimizer_step_post_hooks.values()):
            hook(self, (self,), {})

    def step(self, closure: object = None) -> None:  # type: ignore[override]  # nobody takes a step by it
        """Do nothing."""
