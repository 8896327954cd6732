import re

from undertow.render import report_page


def test_a_small_report_is_small_and_loads_no_charting_library(vanishing, healthy):
    for report in (vanishing, healthy):
        html = report_page.article(report.diagnosis).html()
        assert len(html.encode()) < 200_000
        assert "vega" not in html.partition("<body>")[2].lower()


def test_ids_of_all_drawings_are_their_own(vanishing):
    html = report_page.article(vanishing.diagnosis).html()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_every_mark_of_the_way_back_tells_its_numbers(vanishing):
    html = report_page.article(vanishing.diagnosis).html()
    waypoints = len(vanishing.diagnosis.gradient_path.waypoints)
    told = re.findall(r'data-told="([^"]+)"', html)
    assert sum(each.startswith("at&#x9;") for each in told) == 2 * waypoints  # drawn wide and narrow
    assert sum(each.startswith("from&#x9;") for each in told) >= 2 * (waypoints - 1)


def test_a_picture_says_where_the_gradient_begins_and_ends(vanishing):
    html = report_page.article(vanishing.diagnosis).html()
    assert re.search(r'class="still" role="img" aria-label="A curve of the gradient&#39;s norm over 8 layers', html)


def test_names_that_try_to_break_out_of_a_drawing_stay_text(hostile_report):
    html = report_page.article(hostile_report.diagnosis).html()
    told = re.findall(r'data-told="([^"]*)"', html)
    assert any("script" in each for each in told)
    assert not any("<" in each for each in told)
