"""Advice on attention, tables that are never used, and examples that become alike."""

from collections.abc import Sequence

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import code, expression, in_place_of
from undertow.record import Role, Run, Site, main_activation
from undertow.rules.advice import Advice
from undertow.rules.advice.signal import against_fading, kinds_of
from undertow.wording import called, few, line_of

MOST_STEPS = 40
_GRAPHS = frozenset({"mm", "bmm", "sparse_addmm", "scatter_add", "index_add"})


def softer_attention(run: Run, site: Site, found: Sequence[Site], gap: float, grew: bool) -> Advice:
    """Say how an attention's logits get smaller.

    Args:
        run: whose Site it is.
        site: the worst softmax, or fused kernel.
        found: all that are saturated.
        gap: how far the largest logit is above the next, on average.
        grew: whether the logits were small when the training began.
    """
    asks = list(dict.fromkeys(layer for each in found for layer in queries_and_keys(run, each)))
    names = few([called(run, each) for each in asks]) or "queries and keys"
    if grew:
        text = (
            f"Normalise queries and keys before their product (QK norm), or take a tenth of the learning rate: the "
            f"logits of {called(run, site)} have grown to a gap of {gap:.0f}."
        )
        lines = [
            "# in forward, before queries meet keys:",
            "q = torch.nn.functional.layer_norm(q, q.shape[-1:])",
            "k = torch.nn.functional.layer_norm(k, k.shape[-1:])",
        ]
        return Advice(text, code(*lines))
    factor = gap**-0.5
    text = (
        f"Divide the logits by the square root of a head's width, if forward doesn't yet. Else multiply the starting "
        f"weights of queries and keys by {factor:.2g} (the gap of {gap:.0f} becomes 1): {names}. Or normalise queries "
        "and keys."
    )
    lines = [_smaller(each, factor) for each in asks]
    return Advice(text, code("with torch.no_grad():", *dict.fromkeys(f"    {line}" for line in lines)) if lines else "")


def queries_and_keys(run: Run, site: Site) -> list[Site]:
    """Return the layers that an attention's queries and keys come from, as far as they can be found."""
    edges = run.outgoing[site.index]
    fused = site.op.startswith("scaled_dot_product")
    waiting = [run.edges[edge].target for edge in (edges[:-1] if fused and len(edges) > 2 else edges)]
    found: list[Site] = []
    for _ in range(MOST_STEPS):
        if not waiting:
            break
        each = run.sites[waiting.pop(0)]
        if each.role is Role.WEIGHT:
            found += [each] if each.module and each not in found else []
        else:
            waiting += [run.edges[edge].target for edge in run.outgoing[each.index]]
    return found[:2]


def inputs_looked_at() -> Advice:
    """Say how to find out why every example of a batch is the same."""
    text = (
        "Look at what the model is called with: inputs that were scaled to between 0 and 1 and then made integers, one "
        "example repeated, a tensor that is filled once and never again."
    )
    return Advice(text, code("print(inputs.flatten(1).float().std(0))  # 0 throughout: all examples are the same"))


def rows_in_use(name: str, rows: int, used: int, experts: bool, chosen: bool) -> Advice:
    """Say how rows of a table, codes or experts come into use."""
    if not chosen:
        text = f"Look at how the indices into {name} are made: of its {rows:,} rows only one is ever asked for."
        return Advice(text, "print(indices.unique())  # what is looked up, for a batch")
    if experts:
        text = (
            f"Balance the load of {name}: a loss of its own that is least where all {rows:,} experts get alike much, "
            f"or noise on the router's logits. {rows - used:,} of them get no gradient now."
        )
        lines = [
            "# router_logits: [tokens, experts]; chosen: indices of the experts taken",
            "share = torch.nn.functional.one_hot(chosen, router_logits.shape[-1]).float().mean(0)",
            "balance = router_logits.shape[-1] * (share * router_logits.softmax(-1).mean(0)).sum()",
            "loss = loss + 0.01 * balance",
        ]
        return Advice(text, code(*lines))
    text = (
        f"Start the {rows:,} rows of {name} at encoder outputs of a batch, and put such in the place of rows that stay "
        f"unused: {rows - used:,} get no gradient now."
    )
    table = expression(name)
    lines = [
        f"# h: encoder outputs of a batch, [n, {table}.shape[1]]",
        f"{table}.data.copy_(h.detach()[torch.randint(len(h), (len({table}),))])",
    ]
    return Advice(text, code(*lines))


def examples_told_apart(diagnosis: Diagnosis, site: Site) -> Advice:
    """Say how layers keep different examples different."""
    run = diagnosis.run
    averages = any(each.op in _GRAPHS and each.role is not Role.WEIGHT for each in run.sites)
    joined = any(each.role is Role.JOIN for each in run.sites)
    if averages or joined:
        how = "if layers average over neighbours or tokens, take fewer of them; and " if averages else ""
        text = (
            f"Lead a residual connection around every layer up to {called(run, site)}: {how}x = x + layer(x), from the "
            "first layer on, keeps what tells examples apart."
        )
        where = f"forward ({line_of(site.source)})" if site.source else "forward"
        return Advice(text, code(*in_place_of(["x = layer(x)"], ["x = x + layer(x)"], where)))
    path = diagnosis.gradient_path
    sites = [run.sites[place] for place in path.sites] if path is not None else list(run.sites)
    found = against_fading(diagnosis, sites if kinds_of(sites) else list(run.sites), "weights")
    made_for = f" ({main_activation(sites)})" if main_activation(sites) and not found.snippet else ""
    return Advice(f"{found.text[:-1]}; or lead residual connections around the layers{made_for}.", found.snippet)


def outputs_held_apart() -> Advice:
    """Say what keeps an objective from being met by a constant."""
    text = (
        "Add what a constant output is punished by: negatives (other examples of the batch), a stopped gradient with a "
        "predictor on one side, or a term that keeps every output's standard deviation over the batch at 1."
    )
    lines = [
        "# z: outputs of a batch, [n, features], before they are normalised",
        "loss = loss + torch.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()",
    ]
    return Advice(text, code(*lines))


def _smaller(site: Site, factor: float) -> str:
    name = expression(site.module)
    if site.module_type == "MultiheadAttention":
        width = site.weight_shape[-1] if site.weight_shape else 0
        return f"{name}.in_proj_weight[: {2 * width}] *= {factor:.2g}  # queries and keys"
    return f"{name}.weight *= {factor:.2g}"
