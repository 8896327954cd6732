"""Each claim is decided by the numbers."""

import copy

import numpy as np
import pytest

from undertow.studies.chapter5.claims import CLAIMS
from undertow.studies.study import judged


class TestClaims:
    """Each claim is decided by the numbers: other numbers, another verdict."""

    def holds(self, results, number):
        return judged(CLAIMS, results)[number - 1]["holds"]

    @pytest.fixture
    def changed(self, results):
        return copy.deepcopy(results)

    def with_accuracy(self, results, per_cent):
        for h, mean in enumerate(per_cent, 1):
            spread = np.array([-0.1, 0.0, 0.1, 0.05])
            results["accuracy"][str(h)]["validation"] = ((mean + spread) / 100)[:, None]
        return results

    def test_depth(self, changed):
        assert self.holds(self.with_accuracy(changed, (96.0, 97.0, 96.5, 96.0)), 1) == "yes"
        assert self.holds(self.with_accuracy(changed, (96.0, 97.0, 97.01, 96.0)), 1) == "partly"
        assert self.holds(self.with_accuracy(changed, (97.0, 96.0, 97.0, 98.0)), 1) == "no"

    def test_frozen_front(self, changed):
        share = np.array(changed["share_of_progress"]["4"]["share"])
        share[:] = [0.001, 0.001, 0.1, 0.3, 0.598]
        changed["share_of_progress"]["4"]["share"] = share
        assert self.holds(changed, 3) == "yes"
        share[:] = 0.2
        assert self.holds(changed, 3) == "no"

    def test_neighbours(self, changed):
        for h in (2, 3, 4):
            speed = np.array(changed["training_speed"][str(h)]["speed"])
            changed["training_speed"][str(h)]["speed"] = np.broadcast_to(7.0 ** np.arange(h), speed.shape)
        assert self.holds(changed, 6) == "yes"

    def test_explosion(self, changed):
        changed["explosion"]["runs"]["ReLU, N(0, 1)"]["divergences"] = []
        assert self.holds(changed, 8) == "no"

    def test_product(self, changed):
        changed["chain"]["shown"][0]["value"] *= 1.001
        assert self.holds(changed, 9) == "no"

    def test_full_networks(self, changed):
        changed["split"]["gain"] = np.ones_like(np.array(changed["split"]["gain"]))
        assert self.holds(changed, 12) == "no"

    def test_there_is_one_for_every_claim_of_the_text(self, results):
        assert len(CLAIMS) == len(judged(CLAIMS, results)) == 13
        assert all(claim["measured"] for claim in judged(CLAIMS, results))
