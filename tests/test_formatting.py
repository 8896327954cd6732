import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.render.rows import MINUS, aligned, number

positive = st.floats(1e-30, 1e30)


def read_back(text: str) -> float:
    mantissa, _, power = text.replace(MINUS, "-").replace(",", "").partition("\u00d710")
    return float(mantissa) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


@given(positive, st.sampled_from([1, -1]))
def test_a_written_number_reads_back_to_three_digits(value, sign):
    assert read_back(number(sign * value)) == pytest.approx(sign * value, rel=6e-3)


@given(st.lists(st.floats(0.5, 40), min_size=1))
def test_a_column_of_one_size_has_equally_many_decimals(values):
    written = aligned(values)
    assert len({len(text.partition(".")[2]) for text in written}) == 1
    assert [float(text) for text in written] == pytest.approx(values, rel=6e-3)
