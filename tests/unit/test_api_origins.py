"""Cross-site request forgery: which pages may use a person's cookie to change something."""

import pytest
from hypothesis import given, strategies as st

from router.api.auth.origins import Origins
from router.errors import ConfigurationError

HOST = "api.example:8443"
OWN = f"https://{HOST}"


def may(
    origin: str | None = None,
    referer: str | None = None,
    site: str | None = None,
    host: str | None = HOST,
    origins: Origins | None = None,
) -> bool:
    known = origins or Origins.parse(
        "https://public.example/base", "https://a.example, http://b:81"
    )
    return known.may_write(host=host, origin=origin, referer=referer, site=site)


@pytest.mark.parametrize(
    "origin",
    [
        OWN,
        f"http://{HOST}",
        "https://public.example",
        "https://public.example:443",
        "https://a.example",
        "http://b:81",
    ],
)
def test_our_own_pages_and_trusted_ones_may(origin: str):
    assert may(origin)
    assert may(referer=f"{origin}/some/page?x=1")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "*",
        "https://api.example",
        "https://api.example:8444",
        "https://api.example.evil.example:8443",
        "https://evilapi.example:8443",
        f"https://{HOST}@evil.example",
        f"https://user@{HOST}",
        f"https://evil.example/{OWN}",
        f"https://evil.example#{OWN}",
        f"ftp://{HOST}",
        f"javascript://{HOST}",
        "http://public.example",
        "http://a.example",
        "https://sub.a.example",
        "https://b:81",
        f"{OWN}, {OWN}",
        "https://[::1",
        "https://api.example:port",
        "https://api.example:99999",
    ],
)
def test_other_pages_may_not(origin: str):
    assert not may(origin)
    assert not may(referer=origin)


def test_neither_origin_nor_referer_is_no():
    assert not may()
    assert not may(site="same-origin")


def test_a_wrong_origin_is_not_saved_by_a_right_referer():
    assert not may("null", referer=f"{OWN}/page")
    assert not may("", referer=f"{OWN}/page")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_browser_says_that_it_is_our_page(site: str):
    assert may(OWN, site=site)
    assert may("https://public.example", site=site)


@pytest.mark.parametrize("site", ["same-site", "cross-site", "", "odd", "same-origin, none"])
def test_the_browser_says_that_it_is_not(site: str):
    assert not may(OWN, site=site)
    assert not may("https://public.example", site=site)


def test_a_trusted_page_is_cross_site_by_nature():
    assert may("https://a.example", site="cross-site")
    assert not may("https://evil.example", site="cross-site")


def test_a_schemes_own_port_may_be_left_out():
    assert may("http://plain.example", host="plain.example:80")
    assert may("https://plain.example", host="plain.example:443")
    assert not may("http://plain.example", host="plain.example:443")


def test_without_a_host_only_named_origins_may():
    assert not may(OWN, host=None)
    assert may("https://a.example", host=None)


def test_nothing_is_trusted_unless_named():
    none = Origins.parse(None, None)
    assert may(OWN, origins=none)
    assert not may("https://a.example", origins=none)
    assert not none.trusts("https://a.example")


def test_only_listed_origins_are_trusted():
    known = Origins.parse("https://public.example", "https://a.example:443/".rstrip("/") + ",")
    assert known.trusts("https://a.example")
    assert known.trusts("https://A.example")
    assert not known.trusts("https://public.example")
    assert not known.trusts(None)


@pytest.mark.parametrize(
    "wrong",
    ["*", "a.example", "https://", "https://a.example/path", "null", "https://a.example, x"],
)
def test_wrong_settings_are_named(wrong: str):
    with pytest.raises(ConfigurationError, match="THREADLINE_CORS_ORIGINS"):
        Origins.parse(None, wrong)


def test_a_wrong_public_url_is_named():
    with pytest.raises(ConfigurationError, match="THREADLINE_PUBLIC_URL"):
        Origins.parse("t.example", None)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_breaks_it(one: str, two: str):
    may(one, referer=two, site=two, host=one)
    assert not may(f"https://evil.example/{one}", host=HOST)
