import pytest

from vrx.weights.origin import is_private, may_have_token, same_server

HUB = "https://hub.example"


@pytest.mark.parametrize(
    "address",
    ["https://hub.example/a", "https://hub.example:443/a", "https://HUB.example/a"],
)
def test_the_token_goes_to_the_hub_however_its_address_is_written(address: str) -> None:
    assert may_have_token(address, HUB)
    assert may_have_token(address, "https://hub.example:443")


@pytest.mark.parametrize(
    "address",
    [
        "http://hub.example/a",
        "http://hub.example:443/a",
        "https://hub.example:80/a",
        "https://hub.example:8443/a",
        "https://hub.example.evil/a",
        "https://evil.example/hub.example",
        "https://sub.hub.example/a",
        "https://hub.example@evil.example/a",
        "https://user@hub.example/a",
        "https://hub.example\\@evil.example/a",
        "https://hub.example:99999/a",
        "https://hub.example\t/a",
        "//hub.example/a",
        "ftp://hub.example/a",
        "/relative",
        "",
    ],
)
def test_the_token_goes_nowhere_else(address: str) -> None:
    assert not may_have_token(address, HUB)


def test_one_port_for_both_schemes_is_no_way_around() -> None:
    assert not may_have_token("http://hub.example:8000/a", "https://hub.example:8000")
    assert may_have_token("https://hub.example:8000/a", "https://hub.example:8000")


def test_a_mirror_over_plain_http_gets_no_token_unless_it_is_this_machine() -> None:
    assert not may_have_token("http://mirror.lan/a", "http://mirror.lan")
    assert may_have_token("https://mirror.lan/a", "http://mirror.lan")  # the same host, upgraded
    for here in ("http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9", "http://127.8.0.1:9"):
        assert may_have_token(f"{here}/a", here)
        assert not may_have_token(f"{here}0/a", here)  # another port


def test_a_redirect_down_to_plain_http_leaves_the_server() -> None:
    assert same_server("https://hub.example/b", HUB)
    assert not same_server("http://hub.example/b", HUB)
    assert same_server("https://mirror.lan/b", "http://mirror.lan")


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("https://anywhere.example/x", True),
        ("http://127.0.0.1:9/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:9/x", True),
        ("http://127.0.0.1:9@evil.example/x", False),
        ("http://127.0.0.1.evil.example/x", False),
        ("http://localhost.evil/x", False),
        ("http://[::2]/x", False),
        ("http://10.0.0.1/x", False),
        ("https://user:word@host/x", False),
        ("ftp://127.0.0.1/x", False),
    ],
)
def test_this_machine_is_known_by_the_parsed_host(address: str, private: bool) -> None:
    assert is_private(address) is private
