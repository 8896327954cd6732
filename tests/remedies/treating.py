"""What tests of remedies ask of a training: which are prescribed, what its loss is, what its optimizer holds."""

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply, prescribe
from undertow.remedies.facts import with_facts


def codes(training, fell=0.0):
    return {each.code for each in prescribe(with_facts(look(training).diagnosis, training, fell))}


def loss_of(training, seed=0):
    model = patients.made(training, seed)
    return float(training.loss(model, training.sample(1)[0]).detach())


def group(code, **settings):
    """The first group of the optimizer of a treated training."""
    treated = apply(Remedy(code, settings), patients.classes(patients.mlp, 6))
    return treated.optimizer(patients.made(treated)).param_groups[0]
