"""UR3xx, level C: attention that sees what it has to foretell."""

from collections.abc import Iterator
from functools import partial

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.causal import CAUSAL
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacement
from undertow.remedies.rewiring import rewire
from undertow.remedies.survey import surveyed
from undertow.training import Training


@remedy("UR324", "attention that sees nothing of what is to come", "C", ["UT704"])
def causal(training: Training) -> Training:
    """Hide from each step the steps behind it.

    What it changes:
        Attention of a sequence to itself gets a mask of the future, beside the masks that it has.
    When:
        A model says the next symbol and sees it: it copies it while it is trained, and knows nothing when there is
        nothing to copy.
    Predicts:
        The loss begins to tell how well the next symbol is known: it is larger.
    References:
        Vaswani et al. 2017, section 3.2.3; Radford et al. 2018.
    """
    if not surveyed(fresh(training), training).ahead:
        raise ValueError("the model attends to nothing that is to come")
    return on_model(training, partial(rewire, rewiring=Replacement(CAUSAL)))


@causal.proposes
def _proposed_mask(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    if not facts.get("survey", {}).get("ahead"):
        return
    if facts.get("loss", {}).get("shifted", 0) > 1 or facts.get("foretells"):
        yield Proposal({}, "each step is to say the next one, and attention shows it that", 0.9)
    elif unlearned(diagnosis) and facts.get("targets", {}).get("steps"):
        yield Proposal({}, "attention shows each step those behind it", 0.35)


@causal.written
def _mask_lines() -> str:
    return (
        "# in forward(): mask = nn.Transformer.generate_square_subsequent_mask(steps), for nn.TransformerEncoder\n"
        "# and nn.MultiheadAttention (attn_mask); is_causal=True for F.scaled_dot_product_attention"
    )
