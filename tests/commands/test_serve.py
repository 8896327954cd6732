import socket

import pytest

from commands.starting import started


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_serve_says_what_to_install(tmp_path, package):
    served = started("serve", tmp_path, hiding=package)
    assert served.returncode == 2
    assert served.stderr == "undertow: undertow serve needs starlette and uvicorn: pip install 'undertow[serve]'\n"


def test_what_serve_cannot_do_is_told_in_one_line(tmp_path, refusal):
    assert "there is no folder" in refusal("serve", tmp_path / "nowhere")
    beyond = "0.0.0.0"  # noqa: S104
    assert "0.0.0.0 is reached from other machines: give --token-file" in refusal("serve", tmp_path, "--host", beyond)
    assert "the token could be guessed" in refusal("serve", tmp_path, "--host", beyond, "--token", "short")
    assert "ASCII" in refusal("serve", tmp_path, "--token", "sixteen letters and blanks")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"can't listen to 127.0.0.1, port {port}" in refusal("serve", tmp_path, "--port", port)
