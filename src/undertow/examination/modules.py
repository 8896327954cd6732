"""Which module runs at the moment, for what watches every operation."""

import sys
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class ModuleStack:
    """Paths of the modules that are being called, the innermost last. Hooks on all modules until `close`.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Tanh())
        >>> stack, seen = ModuleStack(net), []
        >>> _ = net[0].register_forward_pre_hook(lambda *_: seen.append(stack.innermost))
        >>> _ = net(torch.ones(1)); stack.close()
        >>> seen, stack.innermost
        (['0'], '')
    """

    def __init__(self, model: nn.Module) -> None:
        self._paths: list[str] = []
        self._handles: list[RemovableHandle] = []
        for name, module in model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(name), prepend=True))
            self._handles.append(module.register_forward_hook(self._leaving, always_call=True))

    @property
    def innermost(self) -> str:
        """Path of the module that was called last and hasn't returned; empty outside of all."""
        return self._paths[-1] if self._paths else ""

    def close(self) -> None:
        """Take the hooks off. To do so twice does no harm."""
        while self._handles:
            self._handles.pop().remove()

    def _entering(self, name: str) -> Any:
        def enter(*_: object) -> None:
            self._paths.append(name)

        return enter

    def _leaving(self, *_: object) -> None:
        if self._paths:
            self._paths.pop()


def users_line() -> str:
    """Return ``file:line`` of the innermost frame that is neither torch's nor ours; empty if there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not any(part in file for part in ("/torch/", "/undertow/examination/", "/undertow/tape/")):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return ""
