"""What would have helped the deepest network, as the doctor recorded it."""


def test_what_would_have_helped_is_what_the_doctor_recorded(folder):
    from undertow.studies.chapter5 import doctored, helped

    told = helped.treatment()
    assert f"{doctored.__name__.replace('.', '/')}.py:training" in told["command"]
    assert told["steps"] == doctored.UPDATES
    best = told["comparisons"][0]
    assert (told["verdict"], best["verdict"]) == ("repaired", "HELPS")
    assert best["interval"][0] > 0
    page = (folder / "index.html").read_text("utf-8")
    assert "What would have helped" in page
    assert f"{helped.helped_scores()[1]:.0f} %" in page.replace("\xa0", " ")
    sizes = [tuple(layer.weight.shape) for layer in doctored.DeepestNetwork() if hasattr(layer, "weight")]
    assert sizes == [(30, 784), (30, 30), (30, 30), (30, 30), (10, 30)]
