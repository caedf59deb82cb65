"""What a store is called: URLs, paths, settings, environment, TOML; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import EngineURL, load_environment, parse_url, settings_from
from holdfast.errors import ConfigurationError
from holdfast.store.kernel import StoreSettings


@pytest.mark.parametrize(
    ("text", "scheme", "location", "params"),
    [
        ("state.db", "sqlite", "state.db", {}),
        ("./a:b/state.db", "sqlite", "./a:b/state.db", {}),
        ("/abs/state.db", "sqlite", "/abs/state.db", {}),
        ("sqlite:state.db", "sqlite", "state.db", {}),
        ("sqlite:///abs/state.db", "sqlite", "/abs/state.db", {}),
        ("SQLITE:state.db", "sqlite", "state.db", {}),
        ("memory:", "memory", "", {}),
        (
            "rocksdb:./d?cache_capacity=5MB&x=1",
            "rocksdb",
            "./d",
            {"cache_capacity": "5MB", "x": "1"},
        ),
        ("sqlite:with%20space?page_size=4096", "sqlite", "with space", {"page_size": "4096"}),
        ("postgresql://u@h/db", "postgresql", "//u@h/db", {}),
    ],
)
def test_urls(text: str, scheme: str, location: str, params: dict[str, str]) -> None:
    """Each form is read as the documentation says."""
    assert parse_url(text) == EngineURL(scheme, location, params)


def test_paths_are_paths(tmp_path: Path) -> None:
    """A pathlib.Path is a path, whatever is in its name."""
    assert parse_url(Path("memory:")) == EngineURL("sqlite", "memory:")
    assert parse_url(Path("a?b=c.db")) == EngineURL("sqlite", "a?b=c.db")


@pytest.mark.parametrize(
    "text", ["", "a\0b", "new.db?page_size=512", "sqlite:a?x=1&x=2", "sqlite:a?=1"]
)
def test_what_is_no_url(text: str) -> None:
    """Nothing, NUL, options without a scheme, repeated and nameless options are refused."""
    with pytest.raises(ConfigurationError):
        parse_url(text)


def test_urls_do_not_show_options() -> None:
    """The text of a URL names options and not their values, which may be secrets one day."""
    assert str(EngineURL("x", "place", {"password": "hunter2"})) == "x:place?password=…"


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("5", 5), ("5k", 5120), ("5KB", 5000), ("1MiB", 1 << 20), ("2_000", 2000), ("1GiB", 1 << 30)],
)
def test_sizes(text: str, bytes_: int) -> None:
    """Sizes take units of ten and of two."""
    assert settings_from(StoreSettings, {"cache_bytes": text}, what="store").cache_bytes == bytes_


@pytest.mark.parametrize("text", ["", "8.5", "five", "5 parsecs", "-", "1e3"])
def test_bad_sizes(text: str) -> None:
    """What is no whole number of bytes is refused."""
    with pytest.raises(ConfigurationError):
        settings_from(StoreSettings, {"cache_bytes": text}, what="store")


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Variables win over the TOML file; both give the same names."""
    file = tmp_path / "holdfast.toml"
    file.write_text('[holdfast]\nurl = "sqlite:a.db"\ncache_capacity = "1MiB"\n')
    found = load_environment({"HOLDFAST_CONFIG": str(file), "HOLDFAST_URL": "memory:", "X": "1"})
    assert found == {"url": "memory:", "cache_capacity": "1MiB"}
    with pytest.raises(ConfigurationError):
        load_environment({"HOLDFAST_CONFIG": str(tmp_path / "no.toml")})
    file.write_text("not toml [")
    with pytest.raises(ConfigurationError):
        load_environment({"HOLDFAST_CONFIG": str(file)})
