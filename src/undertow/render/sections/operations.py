"""Show every operation of the model, by module."""

from undertow.diagnosis import Diagnosis
from undertow.render.blocks import Folded, Section
from undertow.render.site_tree import site_tree


def operations(diagnosis: Diagnosis) -> Section:
    """Show all Sites as a tree of modules."""
    count = len(diagnosis.run.sites)
    title = f"All {count:,} operations, from the input to the loss, with their gradients"
    return Section("operations", "Every operation", [Folded(title, [site_tree(diagnosis)])])
