"""What is tried: single remedies, and pairs that are only right together."""

from undertow.doctoring.arms import first_arms, second_arms, simplicity
from undertow.remedies import KINDS, Remedy


def test_a_likely_remedy_of_the_step_gets_a_partner_and_one_that_is_a_length_of_steps_none():
    missing, slow = Remedy("UR107", urgency=1.0), Remedy("UR101", {"factor": 10.0}, urgency=0.9)
    pairs = [arm for arm in first_arms([missing, slow, Remedy("UR110", urgency=0.5)]) if len(arm) == 2]
    assert {arm[0].code for arm in pairs if arm[1].code == "UR102"} == {"UR107"}
    assert {arm[1].settings["lr"] for arm in pairs if arm[1].code == "UR102"} == {1e-3, 1e-2}


class TestArms:
    prescribed = (Remedy("UR201", urgency=0.9), Remedy("UR102", {"lr": 1e-3}, urgency=0.5), Remedy("UR406", urgency=1))

    def test_urgent_starts_are_paired_and_what_only_a_person_can_do_is_left_out(self, monkeypatch):
        monkeypatch.setattr(KINDS["UR406"], "by_hand", True)
        arms = first_arms(self.prescribed)
        assert (self.prescribed[0],) in arms
        assert any(len(arm) == 2 and arm[0].code == "UR201" for arm in arms)
        assert not any(each.code == "UR406" for arm in arms for each in arm)

    def test_a_pair_holds_no_kind_twice(self):
        arms = second_arms([(Remedy("UR101", {"factor": 0.1}),), (Remedy("UR101", {"factor": 0.01}),)])
        assert all(len({each.code for each in arm}) == len(arm) for arm in arms)

    def test_fewer_and_milder_is_simpler(self):
        arms = [(Remedy("UR101"), Remedy("UR102")), (Remedy("UR302"),), (Remedy("UR101"),)]
        assert sorted(arms, key=simplicity) == [arms[2], arms[1], arms[0]]
