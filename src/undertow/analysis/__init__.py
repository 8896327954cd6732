"""What the numbers of a Run mean: the path that the gradient takes, its gains by cause, and theory beside them."""
