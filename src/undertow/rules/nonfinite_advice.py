"""What to do against inf or nan, by the operation that makes it."""

_ROOT = "its derivative is infinite at 0: add a small number inside, as in sqrt(x + 1e-8)"
_DIVISION = (
    "something is divided by 0: add a small number below, in a precision that holds it (an eps of 1e-12, as in "
    "F.normalize, is 0 in float16: compute it in float32)"
)
_LARGE = "what is multiplied is too large for its precision: float16 ends at 65,504, bfloat16 and float32 don't"
_LOG = "keep it away from 0: clamp, or use log_softmax or binary_cross_entropy_with_logits"
_EXP = "it overflows: use logsumexp, softmax, or subtract the maximum first"
_ALL_MASKED = "a row in which everything is masked, with -inf, has no softmax: leave one place open"
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
    _LENGTHS: "ctc_loss",
    "its derivative is infinite where its argument is -1 or 1: clamp it a little inside": "acos asin atanh",
    "a power under 1 has an infinite derivative at 0, and a large base overflows: clamp it": "pow",
}
_BY_OP = {op: advice for advice, ops in _ADVICE.items() for op in ops.split()}


def advice(op: str) -> str:
    """Return a sentence on what to do, with a blank before it; empty for an operation that nothing is known of.

    Args:
        op: torch's name, such as ``"sqrt"``, ``"_softmax"`` or ``"_ctc_loss"``.

    Example:
        >>> advice("_ctc_loss").split(":")[0]
        ' There a target is longer than the frames left for it (one more is needed for each letter that is repeated)'
        >>> advice("relu")
        ''
    """
    plain = op.strip("_").removesuffix("_backward").removesuffix("_")
    known = _BY_OP.get(plain) or next((text for name, text in _BY_OP.items() if len(name) > 4 and name in plain), "")
    return f" There {known}." if known else ""


def makes_nonfinite(op: str) -> int:
    """Return how likely an operation is to make inf or nan of finite numbers: 0 for hardly, more for more."""
    plain = op.strip("_")
    order = (_LARGE, _ALL_MASKED, _EXP, _ROOT, _DIVISION, _LOG, _LENGTHS)
    text = _BY_OP.get(plain) or next((text for name, text in _BY_OP.items() if len(name) > 4 and name in plain), "")
    return order.index(text) + 1 if text in order else int(bool(text))
