"""Adam in place of another optimizer, and its decay."""

from remedies.treating import group


def test_adam_keeps_the_decay():
    assert group("UR102", lr=0.002)["weight_decay"] == 0.01


def test_decay_goes():
    assert group("UR108")["weight_decay"] == 0.0
