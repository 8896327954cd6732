import re

from undertow.render import report_page
from undertow.render.verdict import verdict
from undertow.rules import RULES
from undertow.rules.explained import sections


def test_the_page_says_what_the_terminal_says(vanishing):
    html = report_page.article(vanishing.diagnosis).html()
    words, sentence = verdict(vanishing.diagnosis)
    assert f"Sequential: {words}" in html
    assert sentence.split(",")[0].replace(">", "&gt;") in html
    for finding in vanishing.findings:
        assert finding.code in html
        assert sections(RULES[finding.code])["References"][:20] in html


def test_names_from_models_are_never_markup(hostile_report):
    html = report_page.article(hostile_report.diagnosis).html()
    assert "<script>document" not in html
    assert 'href="#b"' not in html
    assert "<em>x</em>" not in html
    assert len(re.findall("&lt;script&gt;document", html)) > 10
