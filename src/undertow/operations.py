"""Words for torch's operations: what people call what autograd calls ``addmm``."""

_SPOKEN = {
    "matrix product": "addmm mm mv addmv bmm baddbmm addbmm matmul linear mkldnn_linear dot sparse_addmm grouped_mm",
    "convolution": "convolution mkldnn_convolution cudnn_convolution conv_transpose thnn_conv2d",
    "layer norm": "native_layer_norm layer_norm",
    "batch norm": "native_batch_norm cudnn_batch_norm miopen_batch_norm batch_norm",
    "group norm": "native_group_norm group_norm",
    "sum": "add sum",
    "difference": "sub rsub",
    "product": "mul addcmul",
    "division": "div addcdiv",
    "power": "pow",
    "norm": "linalg_vector_norm norm",
    "concatenation": "cat stack",
    "dropout": "native_dropout fused_dropout",
    "softmax": "softmax safe_softmax",
    "clamp": "clamp clamp_min clamp_max",
    "attention": (
        "scaled_dot_product_attention scaled_dot_product_flash_attention scaled_dot_product_flash_attention_for_cpu "
        "scaled_dot_product_efficient_attention scaled_dot_product_cudnn_attention multi_head_attention_forward"
    ),
    "log-likelihood loss": "nll_loss nll_loss2d nll_loss_forward",
    "CTC loss": "ctc_loss",
}

REGRESSION_LOSSES = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
"""They hold an output against a target element by element and broadcast the two."""

DIFFERENCES = frozenset({"sub", "rsub", "__sub__", "__rsub__", "subtract"})
"""A difference that a user takes by hand, by the names of autograd and of a tensor's methods."""

SOFTMAXES = frozenset({"softmax", "log_softmax"})

ALONG_AN_AXIS = SOFTMAXES | {"cumsum", "flip", "roll", "sort", "cumprod", "logsumexp", "normalize"}
"""Functions that mix what lies along one axis, and keep all of it: of the axis of examples, examples."""

RESHAPING = frozenset({"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"})
"""Functions as users call them, by which axes may be cut anew."""

RECURRENT_CALLS = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
"""What layers of torch call that go through a sequence."""

_BY_OP = {op: words for words, ops in _SPOKEN.items() for op in ops.split()}


def spoken(op: str) -> str:
    """Return the words of the field for an operation.

    Args:
        op: torch's name, such as ``"addmm"`` or ``"_softmax"``.

    Example:
        >>> spoken("addmm"), spoken("native_layer_norm"), spoken("relu"), spoken("log_softmax")
        ('matrix product', 'layer norm', 'relu', 'log_softmax')
    """
    plain = op.strip("_").removesuffix("_backward")
    return _BY_OP.get(plain, plain)
