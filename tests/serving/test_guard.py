from undertow.serving.guard import Guard, is_loopback, own_names


def test_loopback_is_what_no_other_machine_reaches():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.1", "8.8.8.8", "")))  # noqa: S104
    assert "evil.example" not in own_names("127.0.0.1")
    assert Guard(None, own_names("127.0.0.1"))
