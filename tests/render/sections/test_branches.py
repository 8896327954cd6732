import pytest

from undertow.render.blocks import Tree, walk
from undertow.render.sections.branches import branches


def test_shares_at_every_join_add_up_to_one(healthy):
    section = branches(healthy.diagnosis)
    (tree,) = [block for block in walk([section]) if isinstance(block, Tree)]
    assert tree.branches
    for branch in tree.branches:
        shares = [float(part.cells[0].replace("−", "-")) for part in branch.parts]
        assert sum(shares) == pytest.approx(1, abs=0.003)
