"""Show where gradients meet on their way back, and each branch's share."""

from undertow.diagnosis import Diagnosis
from undertow.formatting import counted, signed_terse, terse
from undertow.record import BackwardGain
from undertow.render.blocks import Folded, Section, Tree, TreeLine
from undertow.render.labels import label
from undertow.render.site_tree import packed

MOST_JOINS, MOST_JOINS_OPEN = 25, 12
EXPLANATION = (
    "Where the forward pass forks, gradients meet on the way back. A *share* is a branch’s part of the gradient there, "
    "along its direction: shares add up to 1, and one that points against the others is negative. *Arrives* is the "
    "norm of what comes along the branch."
)


def branches(diagnosis: Diagnosis) -> Section | None:
    """List every join of the gradient path with its branches, the largest share first."""
    joined = [gain for gain in diagnosis.gains if len(gain.shares) > 1]
    if not joined:
        return None
    lines = [_joined(diagnosis, gain, unfolded=len(joined) <= MOST_JOINS_OPEN) for gain in joined]
    tree = Tree("where they meet", ("share", "arrives"), packed(lines, MOST_JOINS), EXPLANATION)
    count = counted(len(joined), "place")
    return Section("branches", "Branches and their shares", [Folded(f"{count} where gradients meet", [tree])])


def _joined(diagnosis: Diagnosis, gain: BackwardGain, unfolded: bool) -> TreeLine:
    norms = diagnosis.run.edge_column("contribution", diagnosis.step)
    ranked = sorted(gain.shares.items(), key=lambda item: -item[1])
    lines = [(_giver(diagnosis, gain, edge), share, norms[edge]) for edge, share in ranked]
    parts = [TreeLine(giver, "", (signed_terse(share), terse(norm))) for giver, share, norm in lines]
    received = float(diagnosis.column("grad_output")[gain.end])
    largest = "" if unfolded else f"{parts[0].label} {parts[0].cells[0]}"
    return TreeLine(label(diagnosis.run.sites[gain.end]), largest, ("", terse(received)), "", parts, unfolded)


def _giver(diagnosis: Diagnosis, gain: BackwardGain, edge: int) -> str:
    source = diagnosis.run.edges[edge].source
    return "straight on" if source == gain.start else f"through {label(diagnosis.run.sites[source])}"
