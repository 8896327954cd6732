from dataclasses import replace

from undertow.record import Finding, Severity
from undertow.render import report_page
from undertow.render.sections.findings import MOST_PLACES


def test_many_findings_of_one_code_are_one_section_that_counts_them(vanishing):
    many = [Finding("UT202", "dead units", Severity.ERROR, (i % 12,), f"{i}", f"{i} is dead.") for i in range(120)]
    html = report_page.article(replace(vanishing.diagnosis, findings=many)).html()
    assert html.count('id="ut202"') == 1
    assert f"{120 - MOST_PLACES} more in the tree" in html
