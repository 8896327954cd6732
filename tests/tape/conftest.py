"""Networks of every kind of graph, as fixtures."""

from sample_graphs import net, nets

__all__ = ["net", "nets"]
