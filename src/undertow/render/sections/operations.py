"""Show every operation of the model, by module."""

from undertow.diagnosis import Diagnosis
from undertow.render.blocks import Section
from undertow.render.site_tree import site_tree


def operations(diagnosis: Diagnosis) -> Section:
    """Show all Sites as a tree of modules."""
    return Section("operations", "Every operation", [site_tree(diagnosis)])
