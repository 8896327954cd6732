"""The backward pass of any PyTorch model, as Signals."""

from undertow.tape.plans import Plans
from undertow.tape.tape import Tape

__all__ = ["Plans", "Tape"]
