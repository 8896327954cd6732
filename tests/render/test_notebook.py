"""A report in a notebook."""


def test_a_notebook_gets_no_script_and_no_markup_of_the_models(vanishing, hostile_report):
    assert "UT101" in vanishing._repr_html_()
    shown = hostile_report._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
