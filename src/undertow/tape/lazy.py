"""Modules whose weights don't exist yet: there is nothing to look at, and looking would make them."""

from torch import nn
from torch.nn.parameter import is_lazy

from undertow.tape.members import modules_of

MOST_NAMED = 3


def refuse_lazy(model: nn.Module) -> None:
    """Raise an error if a model has lazy modules that were never called.

    Their first call makes their parameters, which would not leave the model as it was; and an optimizer made before
    that holds parameters of no size.

    Raises:
        ValueError: it has; the message names them.

    Example:
        >>> refuse_lazy(nn.Sequential(nn.LazyLinear(3)))
        Traceback (most recent call last):
        ValueError: the model has lazy modules that were never called and have no weights yet: 0 (LazyLinear). ...
    """
    lazy = [
        f"{path or 'the model'} ({type(module).__name__})"
        for path, module in modules_of(model).items()
        if any(p is not None and type(p) is not nn.Parameter and is_lazy(p) for p in module._parameters.values())
    ]
    if lazy:
        more = f" and {len(lazy) - MOST_NAMED} more" if len(lazy) > MOST_NAMED else ""
        raise ValueError(
            "the model has lazy modules that were never called and have no weights yet: "
            f"{', '.join(lazy[:MOST_NAMED])}{more}. Call the model on one batch first, as training would, and make the "
            "optimizer after that"
        )
