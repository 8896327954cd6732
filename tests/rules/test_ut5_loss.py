"""UT503: losses that are given what they don't take, and healthy ones like them."""

import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Attends,
    Examples,
    adam,
    batch,
    classified,
    mlp,
    test_fires,
    test_fires_in_a_watched_run,
    test_stays_silent,
    test_stays_silent_in_a_watched_run,
)

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


@fires("UT503")
def softmax_cross_entropy():
    return classified(nn.Softmax(-1), nn.CrossEntropyLoss())


@fires("UT503")
def softmax_smoothed_cross_entropy():
    return classified(lambda z: z.softmax(1), nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"))


@fires("UT503")
def softmax_functional_nll():
    return classified(lambda z: z.softmax(1), lambda p, y: functional.nll_loss(functional.log_softmax(p, 1), y))


@fires("UT503")
def sigmoid_cross_entropy():
    return classified(torch.sigmoid, nn.CrossEntropyLoss())


@fires("UT503")
def sigmoid_bce_with_logits():
    return classified(torch.sigmoid, nn.BCEWithLogitsLoss(), labels=lambda y: functional.one_hot(y, 4).float())


@fires("UT503")
def sigmoid_twice_bce():
    return classified(
        torch.sigmoid,
        lambda p, y: functional.binary_cross_entropy(torch.sigmoid(p), y),
        labels=lambda y: functional.one_hot(y, 4).float(),
    )


@fires("UT503")
def softmax_categorical():
    return classified(
        nn.Softmax(-1), lambda p, y: -torch.distributions.Categorical(logits=p, validate_args=False).log_prob(y).mean()
    )


@fires("UT503")
def softmax_soft_targets():
    return classified(nn.Softmax(-1), nn.CrossEntropyLoss(), labels=lambda y: functional.one_hot(y, 4) * 0.9 + 0.025)


@fires("UT503")
def softmax_segmentation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.Softmax2d())
    x, y = torch.randn(4, 1, 8, 8), torch.randint(0, 3, (4, 8, 8))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


@fires("UT503")
def softmax_of_one_unit_bce():
    return classified(
        nn.Softmax(1), lambda p, y: functional.binary_cross_entropy(p[:, 0], y), n_out=1, labels=lambda y: y.float()
    )


@fires("UT503")
def log_softmax_of_one_unit():
    return classified(lambda z: z, nn.CrossEntropyLoss(), n_out=1, labels=lambda y: y * 0)


@fires("UT503")
def softmax_nll():
    return classified(nn.Softmax(-1), nn.NLLLoss())


@fires("UT503")
def bare_output_nll():
    return classified(lambda z: z, nn.NLLLoss())


@fires("UT503")
def relu_cross_entropy():
    return classified(torch.relu, nn.CrossEntropyLoss())


@silent("UT503")
def log_softmax_nll():
    return classified(nn.LogSoftmax(-1), nn.NLLLoss())


@silent("UT503")
def averaged_maps():
    torch.manual_seed(0)
    body = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model, x, y = nn.Sequential(*body), torch.randn(8, 1, 6, 6), torch.randint(0, 4, (8,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


@silent("UT503")
def plain_cross_entropy():
    return classified(lambda z: z, nn.CrossEntropyLoss())


@silent("UT503")
def log_softmax_twice():
    return classified(nn.LogSoftmax(-1), nn.CrossEntropyLoss())


@silent("UT503")
def log_of_softmax():
    return classified(nn.Softmax(-1), lambda p, y: functional.nll_loss(p.log(), y))


@silent("UT503")
def distillation():
    teacher = mlp()
    x, _ = batch()
    soft = teacher(x).softmax(-1).detach()
    return classified(lambda z: z.log_softmax(-1), lambda p, _: functional.kl_div(p, soft, reduction="batchmean"))


@silent("UT503")
def scaled_probabilities():
    return classified(lambda z: 30 * torch.tanh(z / 30), nn.CrossEntropyLoss())


@silent("UT503")
@silent("UT109")
@silent("UT506")
def attention_by_hand():
    model, x = Attends(), torch.randn(8, 5, 6)
    y = torch.randint(0, 6, (8,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


CASES = EXAMPLES.by_code


def contrasted(temperature=None, length=lambda z: functional.normalize(z, dim=-1)):
    """Two views of examples, told apart by their cosines."""
    torch.manual_seed(0)
    net = nn.ModuleList(nn.Linear(6, 4) for _ in range(2))
    x = torch.randn(12, 6)

    def loss():
        one, other = (length(layer(x)) for layer in net)
        similar = one @ other.T
        return functional.cross_entropy(similar if temperature is None else similar / temperature, torch.arange(12))

    return net, loss, torch.optim.Adam(net.parameters())


fires("UT503")(contrasted)
fires("UT503")(lambda: contrasted(length=lambda z: z / z.norm(dim=1, keepdim=True)))
silent("UT503")(lambda: contrasted(0.1))
silent("UT503")(lambda: contrasted(length=lambda z: z))
silent("UT503")(lambda: contrasted(length=lambda z: z * z.square().mean(1, keepdim=True).rsqrt()))
