"""Numbers from the numbers of a Run: the path that the gradient takes, its gains by cause, and theory beside them."""
