"""Sort torch's operations by what they do to a gradient: reshape it, multiply it by weights, join, attend."""

import re
from functools import cache

from undertow.activations import in_torch
from undertow.record import Role


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESHAPES = _names(
    "view unsafe_view reshape_alias t transpose permute squeeze unsqueeze alias clone to_copy slice "
    "select narrow split split_with_sizes unsafe_split unbind chunk lift_fresh view_as_real "
    "view_as_complex backward_hook_function register_post_backward_function"
)
"""Their backward pass moves numbers and adds none up: the norm stays. (``expand`` and ``repeat`` do add up.)"""

PRODUCTS = _names(
    "addmm mm addmv mv dot bmm baddbmm addbmm grouped_mm scaled_grouped_mm sparse_addmm linear mkldnn_linear "
    "convolution"
)
"""With a parameter as one factor they are layers; with data in both, attention."""

FACTORS: dict[str, dict[int, str]] = {
    "convolution": {0: "input", 1: "weight"},
    "addmm": {1: "mat1", 2: "mat2"},
    "mm": {0: "self", 1: "mat2"},
}
"""The two factors of a product, the data's place first: their places among the inputs, and what the Node calls them."""

ADDENDS = frozenset({"addmm", "addmv", "baddbmm", "addbmm", "sparse_addmm"})
"""Products whose first input is added on: a bias, or what a residual connection carries."""

RECURRENT = frozenset({"mkldnn_rnn_layer", "cudnn_rnn", "miopen_rnn"})
"""A whole layer of an RNN, all its time steps, as one operation."""

EMBEDDINGS = frozenset({"embedding", "embedding_bag"})

ACTIVATIONS = _names(
    "sigmoid tanh relu leaky_relu gelu silu elu softplus hardtanh hardswish hardsigmoid mish erf "
    "log_sigmoid prelu_kernel threshold rrelu_with_noise sin glu celu softshrink hardshrink"
) | frozenset(in_torch())

IN_PLACE = {
    "ReLU": "relu", "ReLU6": "hardtanh", "LeakyReLU": "leaky_relu", "ELU": "elu", "CELU": "celu", "SELU": "selu",
    "RReLU": "rrelu_with_noise", "SiLU": "silu", "Mish": "mish", "Hardtanh": "hardtanh", "Hardswish": "hardswish",
    "Hardsigmoid": "hardsigmoid", "Threshold": "threshold",
}  # fmt: skip
"""Modules of torch's that may write over a view (a linear layer's output on 3-d input is one), which autograd notes as
``CopySlices``, whatever was done; and the operation that it was."""

NORMS = _names(
    "native_batch_norm cudnn_batch_norm miopen_batch_norm native_layer_norm native_group_norm "
    "fused_rms_norm rms_norm linalg_vector_norm"
)

JOINS = frozenset({"add", "sub", "addcmul", "addcdiv", "cat", "stack"})

LOSSES = _names(
    "nll_loss nll_loss2d nll_loss_forward binary_cross_entropy binary_cross_entropy_with_logits mse_loss "
    "l1_loss smooth_l1_loss huber_loss kl_div ctc_loss soft_margin_loss multi_margin_loss "
    "multilabel_margin_loss cosine_embedding_loss"
)

_NORM_CLASS = re.compile(r"norm", re.IGNORECASE)
_NORM_OP = re.compile(r"(layer|rms|batch|group|instance)_?norm")
_LOSS_OP = re.compile(r"cross_entropy|(^|_)loss(_|$)")
"""Of functions that are not torch's own: fused kernels of other libraries."""

_ACTIVATION_CLASS = re.compile(r"(activation|gelu|softsign|swish|silu|mish)$", re.IGNORECASE)


@cache
def op_name(node_name: str) -> str:
    """torch's name for the operation whose backward pass a Node is.

    Example:
        >>> op_name("NativeLayerNormBackward0"), op_name("ScaledDotProductFlashAttentionForCpuBackward0")
        ('native_layer_norm', 'scaled_dot_product_flash_attention_for_cpu')
        >>> op_name("NllLoss2DBackward0"), op_name("MyFunctionBackward"), op_name("MulBackward0")
        ('nll_loss2d', 'my_function', 'mul')
    """
    bare = re.sub(r"Backward\d*$", "", node_name.rsplit("::", 1)[-1])
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[A-CE-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", bare).lower()


@cache
def role_of(op: str, module_type: str, data_inputs: int, weight_inputs: int, constant: bool = False) -> Role:
    """Return what an operation is there for, before it is known whether weights lie between it and the loss.

    Args:
        op: its name. A backward pass that is differentiated itself counts as what it goes back through.
        module_type: class of the module it ran in.
        data_inputs: how many of its factors depend on data and take gradient.
        weight_inputs: how many are parameters, or made of parameters.
        constant: whether the other factor of a product is no layer's weights, not even frozen ones: a graph's edges.
    """
    again, op = op.endswith("_backward"), op.removesuffix("_backward")
    if op in RECURRENT or op in EMBEDDINGS:
        return Role.WEIGHT
    if op in PRODUCTS:
        return Role.ATTENTION if data_inputs > 1 and not again else Role.OTHER if constant else Role.WEIGHT
    if op in NORMS or _NORM_CLASS.search(module_type) or _NORM_OP.search(op):
        return Role.NORM
    if op in ACTIVATIONS or _ACTIVATION_CLASS.search(module_type):
        return Role.ACTIVATION
    return _minor_role(op, data_inputs, weight_inputs)


def _minor_role(op: str, data_inputs: int, weight_inputs: int) -> Role:
    if op in LOSSES or _LOSS_OP.search(op):
        return Role.LOSS
    if op.startswith("scaled_dot_product") or op in ("softmax", "safe_softmax"):
        return Role.ATTENTION
    if op in JOINS and data_inputs + (op in ("cat", "stack")) * weight_inputs > 1:
        return Role.JOIN
    return Role.OTHER
