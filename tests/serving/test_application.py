import base64
import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from reading import until
from sample_runs import HOSTILE
from serving.processes import serving, training
from undertow.store import save_run

TOKEN = "nobody-guesses-this-one"  # noqa: S105


def numbers(text, kind="<f4"):
    return np.frombuffer(base64.b64decode(text), kind)


def states(address, names=(), timeout=20):
    """What the server says as time goes on, one after the other."""
    params = [("name", name) for name in names]
    with httpx.stream("GET", f"{address}events", params=params, timeout=timeout) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_view_holds_what_the_run_holds(get, small_run):
    view = get("view", params={"name": "first.undertow"}).json()
    loss = view["scalars"]["loss"]
    assert np.array_equal(numbers(loss["low"]), small_run.scalars["loss"].astype("f4"))
    assert np.array_equal(numbers(view["taped"], "<f8"), small_run.steps["step"])
    speed = view["quantities"]["speed"]
    drawn = numbers(speed["low"]).reshape(len(speed["names"]), -1)
    sites = [site for site in reversed(small_run.sites) if site.module == speed["names"][0]]
    assert np.array_equal(drawn[0], small_run.columns["learning_speed"][:, sites[0].index].astype("f4"))
    assert {"progress", "update", "saturated", "gradient"} <= view["quantities"].keys()


def test_causes_of_any_step_are_those_of_the_run(get, small_run):
    from undertow.diagnosis import Diagnosis
    from undertow.render.step_view import step_view

    for row in (0, 17, 59):
        told = get("step", params={"name": "first.undertow", "row": row}).json()
        assert told == json.loads(json.dumps(step_view(Diagnosis(small_run, row))))
    assert get("step", params={"name": "first.undertow", "row": 60}).status_code == 404
    for wrong in ("-1", "x", "", "1" * 400, "²"):
        assert get("step", params={"name": "first.undertow", "row": wrong}).status_code == 400


def test_findings_come_with_the_next_event(served, get):
    seen = states(served, ["first.undertow"])
    until(lambda: next(seen) and get("view", params={"name": "first.undertow"}).json()["judged"])
    codes = {finding["code"] for finding in get("view", params={"name": "first.undertow"}).json()["findings"]}
    assert "UT101" in codes


def test_a_damaged_run_is_told_and_the_server_goes_on(get):
    answer = get("view", params={"name": "broken.undertow"})
    assert answer.status_code == 409
    assert "broken.undertow" in answer.text
    assert get("view", params={"name": "first.undertow"}).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "../secret.undertow", "deep/../../secret.undertow", "/etc/passwd", "notes.txt", "", ".", "deep", "deep/",
        "./first.undertow", "deep//second & third.undertow", "first.undertow/", "first.undertow\0",
        "..\\secret.undertow", "first.undertow-wal", "none.undertow", "%2e%2e/secret.undertow",
        "x" * 5000 + ".undertow", "\udcff.undertow",
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", ["view", "run", "events", "step?row=0", "compare"])
def test_only_runs_of_the_folder_are_found(get, runs, name, page):
    (runs.parent / "secret.undertow").write_bytes((runs / "first.undertow").read_bytes())
    path, _, query = page.partition("?")
    params = {"name": name.encode("utf-8", "surrogatepass"), **({"row": "0"} if query else {})}
    answer = get(path, params=params)
    assert answer.status_code == 404, answer.text
    assert "Sequential" not in answer.text


def named(address, begin):
    return [each["name"] for each in httpx.get(f"{address}runs").json() if each["name"].startswith(begin)]


def test_links_out_of_the_folder_are_not_followed(workshop, tmp_path, small_run):
    root, address = workshop
    inside = root / "links"
    inside.mkdir()
    for name in ("secret", "rank", "beside"):
        save_run(small_run, tmp_path / f"{name}.undertow")
    for name in ("mine", "ranks", "wal"):
        save_run(small_run, inside / f"{name}.undertow")
    (inside / "link.undertow").symlink_to(tmp_path / "secret.undertow")
    (inside / "folder").symlink_to(tmp_path, target_is_directory=True)
    (inside / "ranks.rank1.undertow").symlink_to(tmp_path / "rank.undertow")
    (inside / "wal.undertow-wal").symlink_to(tmp_path / "beside.undertow")
    assert named(address, "links/") == ["links/mine.undertow"]
    for name in ("link.undertow", "folder/secret.undertow", "ranks.undertow", "wal.undertow", "ranks.rank1.undertow"):
        assert httpx.get(f"{address}view", params={"name": f"links/{name}"}).status_code == 404


def test_a_run_that_turns_into_a_link_is_not_read_any_more(workshop, tmp_path, small_run):
    root, address = workshop
    save_run(small_run, tmp_path / "secret.undertow")
    save_run(small_run, root / "turning.undertow")
    asked = {"name": "turning.undertow"}
    assert httpx.get(f"{address}view", params=asked).status_code == 200
    (root / "turning.undertow").unlink()
    (root / "turning.undertow").symlink_to(tmp_path / "secret.undertow")
    assert httpx.get(f"{address}view", params=asked).status_code == 404


@pytest.mark.parametrize("path", ["", "runs", "view?name=first.undertow", "events", "run?name=first.undertow"])
def test_other_hosts_names_are_not_answered(get, served, path):
    port = urlsplit(served).port
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "", "["):
        assert get(path, headers={"Host": host}).status_code == 403


def test_our_own_names_are_answered_whatever_port_was_forwarded(get, served):
    for host in ("localhost:1234", "127.0.0.1", "LOCALHOST", "[::1]:80", urlsplit(served).netloc):
        assert get("runs", headers={"Host": host}).status_code == 200


def test_other_origins_may_not_read(get, served):
    own = served.rstrip("/")
    assert get("runs", headers={"Origin": own}).status_code == 200
    for origin in (
        "http://evil.example",
        "null",
        "http://localhost:1",
        "https://" + urlsplit(served).netloc + ".evil.example",
    ):
        assert get("runs", headers={"Origin": origin}).status_code == 403
    assert get("runs", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert get("runs", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert get("", headers=followed).status_code == 200
    assert get("", headers=followed | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_every_answer_is_hardened(get):
    for path, params in (("", {}), ("runs", {}), ("view", {"name": "none"}), ("nowhere", {})):
        headers = get(path, params=params).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(served, method):
    assert httpx.request(method, f"{served}runs").status_code == 405


def test_nonsense_is_answered_with_an_error_and_not_with_a_traceback(served):
    where = urlsplit(served)
    for request in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /view?name=%00%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01",
    ):
        with socket.create_connection((where.hostname, where.port), 5) as raw:
            raw.sendall(request + b"\r\n\r\n")
            assert b"Traceback" not in raw.recv(4096)
    assert httpx.get(f"{served}runs").status_code == 200


def test_names_are_text_in_every_page(get):
    name = f"{HOSTILE.replace('/', '')}.undertow"
    for path in ("run", "compare"):
        text = get(path, params={"name": name}).text
        assert "<img src=x" not in text
    assert "<img" not in get("").text


def test_beyond_loopback_a_token_is_demanded(tmp_path, small_run):
    save_run(small_run, tmp_path / "mine.undertow")
    with serving(tmp_path, "--host", "0.0.0.0", "--token", TOKEN) as address:  # noqa: S104
        local = f"http://127.0.0.1:{urlsplit(address).port}/"
        for path in ("", "runs", "view?name=mine.undertow", "events", "nowhere"):
            assert httpx.get(local + path).status_code == 401
            assert (
                httpx.get(local + path, headers={"Authorization": "Bearer wrong-token-wrong-token"}).status_code == 401
            )
        assert httpx.get(f"{local}runs?token=x").status_code == 401
        assert httpx.get(f"{local}runs", headers={"Cookie": 'undertow="unclosed'}).status_code == 401
        assert (
            httpx.get(f"{local}runs", headers={"Authorization": f"Bearer {TOKEN}"}).json()[0]["name"] == "mine.undertow"
        )
        with httpx.Client() as client:
            visit = client.get(f"{local}view", params={"name": "mine.undertow", "token": TOKEN})
            assert visit.status_code == 303
            assert visit.headers["location"] == "/view?name=mine.undertow"
            assert {"httponly", "samesite=strict"} <= {
                part.strip().lower() for part in visit.headers["set-cookie"].split(";")
            }
            assert client.get(f"{local}runs").status_code == 200
        assert (
            httpx.get(
                f"{local}runs", headers={"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}
            ).status_code
            == 403
        )


def test_new_steps_are_told_while_a_process_trains(workshop):
    root, address = workshop
    asked = {"name": "live.undertow"}
    with training(root / "live.undertow") as latest:
        versions = []
        for told in states(address, ["live.undertow"]):
            assert told["live.undertow"]["kind"] == "growing"
            versions.append(told["live.undertow"]["version"])
            if len(versions) == 4:
                break
        assert versions == sorted(set(versions))
        last = latest.stop()

    def taped():
        return numbers(httpx.get(f"{address}view", params=asked).json()["taped"], "<f8").tolist()

    until(lambda: taped() == list(range(last + 1)))
    view = httpx.get(f"{address}view", params=asked).json()
    assert numbers(view["scalars"]["loss"]["first"], "<f8").tolist() == list(range(last + 1))
    assert next(states(address, ["live.undertow"]))["live.undertow"]["kind"] == "ended"


def test_new_runs_and_deleted_ones_are_told(workshop, small_run):
    root, address = workshop
    told = ([each["name"] for each in now] for now in states(address))
    assert "new.undertow" not in next(told)
    save_run(small_run, root / "new.undertow")
    until(lambda: "new.undertow" in next(told))
    (root / "new.undertow").unlink()
    until(lambda: "new.undertow" not in next(told))


def test_a_run_that_is_deleted_while_looked_at_is_said_to_be_gone(workshop, small_run):
    root, address = workshop
    save_run(small_run, root / "short.undertow")
    told = states(address, ["short.undertow"])
    assert next(told)["short.undertow"]["version"] == 1
    (root / "short.undertow").unlink()
    until(lambda: next(told)["short.undertow"]["kind"] == "lost")


def test_an_open_stream_does_not_keep_the_server_from_stopping(tmp_path):
    with serving(tmp_path) as address:
        told = states(address)
        assert next(told) == []
        began = time.monotonic()
    assert time.monotonic() - began < 9  # else it was killed
