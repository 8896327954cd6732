"""Advise against inf or nan, by the operation that makes it."""

_ROOT = "its derivative is infinite at 0: add a small number inside, as in sqrt(x + 1e-8)"
_DIVISION = (
    "something is divided by 0: add a small number below, in a precision that holds it (an eps of 1e-12, as in "
    "F.normalize, is 0 in float16: compute it in float32)"
)
_LARGE = "what is multiplied is too large for its precision: float16 ends at 65,504, bfloat16 and float32 don't"
_LOG = "keep it away from 0: clamp, or use log_softmax or binary_cross_entropy_with_logits"
_EXP = "it overflows: use logsumexp, softmax, or subtract the maximum first"
_ALL_MASKED = "a row in which everything is masked, with -inf, has no softmax: leave one place open"
_LOGITS = (
    "its logits are too large, or a row of them is -inf throughout. If a step before was too long (UT401), mend that "
    "first; if rows are masked, leave one place open"
)
_LENGTHS = (
    "a target is longer than the frames left for it (one more is needed for each letter that is repeated): hold "
    "input_lengths against target_lengths, pool less along time, or set zero_infinity=True"
)

_ADVICE = {
    _ROOT: "sqrt norm linalg_vector_norm vector_norm cdist euclidean_dist pairwise_distance rsqrt std var",
    _DIVISION: "div true_divide reciprocal",
    _LARGE: "mm addmm bmm baddbmm linear convolution matmul mul add square sum cumsum native_layer_norm",
    _LOG: "log log2 log10 log1p xlogy",
    _EXP: "exp exp2 expm1 sinh cosh",
    _ALL_MASKED: "softmax scaled_dot_product_attention",
    _LOGITS: "log_softmax",
    _LENGTHS: "ctc_loss",
    "its derivative is infinite where its argument is -1 or 1: clamp it a little inside": "acos asin atanh",
    "a power under 1 has an infinite derivative at 0, and a large base overflows: clamp it": "pow",
}
_BY_OP = {op: advice for advice, ops in _ADVICE.items() for op in ops.split()}


def remedy_for(op: str) -> str:
    """Return what to do about an operation, in half a sentence; empty for one that nothing is known of.

    Args:
        op: torch's name, such as ``"sqrt"``, ``"_softmax"`` or ``"_ctc_loss"``.

    Example:
        >>> remedy_for("_ctc_loss").split(":")[0]
        'a target is longer than the frames left for it (one more is needed for each letter that is repeated)'
        >>> remedy_for("relu")
        ''
    """
    plain = op.strip("_").removesuffix("_backward").removesuffix("_")
    return _BY_OP.get(plain) or next((text for name, text in _BY_OP.items() if len(name) > 4 and name in plain), "")


def makes_nonfinite(op: str) -> int:
    """Return how likely an operation is to make inf or nan of finite numbers: 0 for hardly, more for more."""
    plain = op.strip("_")
    order = (_LARGE, _ALL_MASKED, _LOGITS, _EXP, _ROOT, _DIVISION, _LOG, _LENGTHS)
    text = _BY_OP.get(plain) or next((text for name, text in _BY_OP.items() if len(name) > 4 and name in plain), "")
    return order.index(text) + 1 if text in order else int(bool(text))


_LINES = {
    "sqrt": ("x = torch.sqrt(x)", "x = torch.sqrt(x + 1e-8)"),
    "rsqrt": ("x = torch.rsqrt(x)", "x = torch.rsqrt(x + 1e-8)"),
    "norm": ("x = x.norm(dim=-1)", "x = (x.square().sum(-1) + 1e-8).sqrt()"),
    "std": ("x = x.std(-1)", "x = (x.var(-1) + 1e-8).sqrt()"),
    "cdist": (
        "d = torch.cdist(a, b)",
        "d = ((a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1) + 1e-8).sqrt()",
    ),
    "div": ("x = x / y", "x = x / y.float().clamp_min(1e-6)"),
    "reciprocal": ("x = 1 / x", "x = 1 / x.float().clamp_min(1e-6)"),
    "log": ("x = torch.log(x)", "x = torch.log(x.clamp_min(1e-8))"),
    "exp": ("x = torch.exp(x)", "x = torch.exp(x - x.amax(-1, keepdim=True))"),
    "pow": ("x = x ** p", "x = x.float().clamp(1e-8, 1e4) ** p"),
    "acos": ("x = torch.acos(x)", "x = torch.acos(x.clamp(-1 + 1e-6, 1 - 1e-6))"),
    "asin": ("x = torch.asin(x)", "x = torch.asin(x.clamp(-1 + 1e-6, 1 - 1e-6))"),
    "softmax": ("x = torch.softmax(scores, -1)", "x = torch.softmax(scores.clamp_min(-1e4), -1)"),
    "ctc_loss": (
        "loss = torch.nn.functional.ctc_loss(log_probs, targets, input_lengths, target_lengths)",
        "loss = torch.nn.functional.ctc_loss(log_probs, targets, input_lengths, target_lengths, zero_infinity=True)",
    ),
    "matmul": ("x = x @ w", "x = x.float() @ w.float()"),
}
_SAME = {
    **dict.fromkeys(("linalg_vector_norm", "vector_norm", "pairwise_distance"), "norm"),
    **dict.fromkeys(("var",), "std"),
    "euclidean_dist": "cdist",
    "true_divide": "div",
    **dict.fromkeys(("log2", "log10", "log1p", "xlogy"), "log"),
    **dict.fromkeys(("exp2", "expm1"), "exp"),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "linear"), "matmul"),
}


def lines_for(op: str) -> tuple[list[str], list[str]]:
    """Return the usual line with an operation, and the one to write in its place; both empty where none is known.

    Example:
        >>> lines_for("sqrt")
        (['x = torch.sqrt(x)'], ['x = torch.sqrt(x + 1e-8)'])
        >>> lines_for("relu")
        ([], [])
    """
    plain = op.strip("_").removesuffix("_backward").removesuffix("_")
    known = _LINES.get(_SAME.get(plain, plain))
    return ([known[0]], [known[1]]) if known else ([], [])
