"""Dropout wherever it is: rates of modules and of calls of functions, and how both are lowered."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

DROPOUTS = frozenset(
    {
        "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
        "feature_alpha_dropout",
    }
)  # fmt: skip
ATTENTION = "scaled_dot_product_attention"
PLACES = {**dict.fromkeys(DROPOUTS, (1, "p", 0.5)), ATTENTION: (4, "dropout_p", 0.0)}
"""Where a call has its rate: among the arguments, as a keyword, and which it is without."""


def rates_of(model: nn.Module) -> Iterator[float]:
    """Yield the rates of a model's modules, those of recurrent layers and of attention among them.

    Example:
        >>> list(rates_of(nn.Sequential(nn.Dropout(0.3), nn.MultiheadAttention(4, 2, dropout=0.2))))
        [0.3, 0.2]
    """
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            yield float(module.p)
        elif isinstance(rate := getattr(module, "dropout", None), float):
            yield rate


def rate_of(name: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> float:
    """Return the rate at which a call of a function drops; 0 if it drops nothing.

    Args:
        name: of the function.
        args, keywords: that it is called with.

    Example:
        >>> rate_of("dropout", [None, 0.9, True], {}), rate_of("dropout", [None, 0.9, False], {})
        (0.9, 0.0)
    """
    if name not in PLACES:
        return 0.0
    training = keywords.get("training", args[2] if len(args) > 2 and name != ATTENTION else True)
    place, keyword, usual = PLACES[name]
    rate = keywords.get(keyword, args[place] if len(args) > place else usual)
    return float(rate) if training and isinstance(rate, int | float) else 0.0


@dataclass(frozen=True)
class Capped:
    """Lowers the rates of calls, as data; it makes a mode for a model.

    Attributes:
        p: the largest that there may be.
    """

    p: float

    def of(self, model: nn.Module) -> "_Capping":
        """Make a mode for one call."""
        del model
        return _Capping(self.p)


class _Capping(TorchFunctionMode):
    def __init__(self, p: float) -> None:
        super().__init__()
        self._most, self.replaced = p, list[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, with a lower rate where its own is higher."""
        del types
        name, keywords = getattr(func, "__name__", ""), dict(kwargs or {})
        if rate_of(name, args, keywords) > self._most:
            self.replaced.append(name)
            place, keyword, _ = PLACES[name]
            if len(args) > place:
                args = (*args[:place], self._most, *args[place + 1 :])
            else:
                keywords[keyword] = self._most
        return func(*args, **keywords)
