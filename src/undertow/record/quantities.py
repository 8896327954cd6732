"""Everything there is to read, by name, and what it means. NaN: not measured, or there is no such thing here."""

SITE_COLUMNS = {
    "grad_output": "norm of the gradient received, whole (not a mean over the batch)",
    "grad_input": "norm of the gradient passed on to everything but parameters",
    "learning_speed": "norm of the gradient received, summed over examples and positions: ||dC/db||, bias or no bias",
    "coherence": "norm of the mean over rows / root mean square over rows: what of the batch survives averaging",
    "derivative_rms": "root mean square of the activation's derivative",
    "alignment_phi": "||phi'(z) g|| / (rms phi' ||g||)",
    "alignment_w": "sqrt(n_out) ||W^T g|| / (||W||_F ||g||)",
    "saturated": "of an activation bounded on both sides: share of values with |phi'| under a tenth of its peak",
    "dead": "of any other activation: share of units with |phi'| under a thousandth of its peak in every row",
    "nonfinite": "inf and nan in the gradient received",
    "weight_norm": "||W||_F, of the weights as they are multiplied with",
    "bias_rms": "root mean square of the biases, 0 without",
    "input_rms": "root mean square of what comes into weights or an activation, over a part of the batch",
    "input_likeness": "how alike they are, before weights: ||mean example||^2 / mean ||example||^2, 1 if all the same",
    "input_cosine": "mean cosine between what two examples bring into weights or a vector norm, over some of the batch",
    "one_hot": "of attention: share of rows in which one key has more than 0.99 of the weight",
    "one_hot_head": "the same of the head that has most",
    "logit_gap": "of attention: mean distance of a row's largest logit from the next",
    "rows_used": "of a table: share of its rows that were looked up so far",
    "rows_reached": "of a table that the model chooses from by itself: share of its rows that got gradient so far",
    "lookups": "rows that were looked up in this pass",
    "target_mean": "of a regression's loss: mean of its targets",
    "target_spread": "standard deviation of its targets",
    "target_missed": "root mean square of what of them lies beyond the limits of the output's last operation",
    "output_size": "root mean square of what is held against them",
    "surprise": "of a classifier's loss: mean -log p of the right class / log of the number of classes, 1 at chance",
    "classes": "how many there are",
    "constant_loss": "what the best answer that is the same for every example would make of the loss, in this batch",
    "commonest": "of a classifier's loss: share of the targets that are of the class that most are of",
    "outweighs": "of a loss that is given weights of classes: what the heaviest one weighs in this batch / all others",
    "softmax_axis": "of a softmax behind the last layer: the axis it is taken along; of nll_loss: that of the classes",
    "weight_spread": "norm of the weights' deviation from those of the mean unit / ||W||_F: 0 if all units are alike",
    "grad_spread": "the same of the gradient by the weights: 0 if all units are pulled alike, and stay as they are",
    "weight_grad_norm": "norm of the loss's gradient by this Site's parameters",
    "update_ratio": "||dw|| / ||w|| of the optimizer's step",
    "progress": "share of the first-order change of the loss: -<g, dw> / its sum over all Sites",
}
"""What there is to read at a Site, and what it means. NaN: not measured, or there is no such thing here."""

EDGE_COLUMNS = {
    "contribution": "norm of the gradient that arrives along this edge",
    "share": "<g_e, G> / ||G||^2, its share of the gradient that its receiver takes; they sum to 1",
}
"""What there is to read at an edge, and what it means."""

STEP_COLUMNS = ("step", "time", "loss", "lr")

SCALARS = {
    "step": "steps of the optimizer so far",
    "time": "seconds since the Run began",
    "loss": "as logged",
    "lr": "learning rate of the first parameter group",
    "grad_norm": "norm of the gradient by all parameters, as the optimizer takes it: after clipping, unscaled",
    "grad_norm_unclipped": "the same before clipping",
    "nonfinite": "inf and nan among the gradients: how many, or 1 for some",
    "loss_nonfinite": "1 where the loss was inf or nan",
    "clipped_scaled": "1 where gradients were clipped before they were unscaled, 0 where they were clipped otherwise",
    "scale": "loss scale; NaN where it is unknown",
    "skipped": "1 where the optimizer's step was skipped",
    "stepped_again": "1 where the optimizer stepped after the scaler's own step",
    "stepped_scaled": "1 where the optimizer took gradients that were still multiplied by the loss scale",
    "left_over": "norm of the gradients there when a backward pass begins / of those that the optimizer then takes",
    "cleared": "1 where gradients were cleared between the backward pass and the optimizer's step",
    "evaluating": "modules in evaluation mode together with what holds them, such as BatchNorm and Dropout",
    "backwards": "backward passes so far",
    "step_seconds": "seconds since the step before",
    "cost_seconds": "seconds of them that undertow took",
}
"""What there is to note at every step, measured or not; what a user logs stands beside these under its own name."""

PARAMETER_COLUMNS = {
    "grad_norm": "norm of the loss's gradient by this parameter, as the optimizer takes it, unscaled",
    "update_norm": "norm of the optimizer's step, decay included",
    "weight_norm": "norm of the parameter before the step",
    "update_ratio": "update_norm / weight_norm",
    "progress": "share of the first-order change of the loss: -<g, dw> / its sum over all parameters",
    "lr": "learning rate of its group",
}
"""What there is to read of a parameter at a recorded step, and what it means. NaN: not measured."""
