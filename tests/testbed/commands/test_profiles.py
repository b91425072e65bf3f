"""The catalogue as a person reads it, and profiles of one's own wherever a profile is named."""

from pathlib import Path

import pytest
import yaml
from rich.console import Console

from testbed.commands.profiles import show_profiles
from testbed.experiment.file import load_experiment
from testbed.experiment.networks import build_network
from topologies.errors import BadTopologyError
from topologies.links.profiles import catalogue

MINE = {
    "home": {
        "down": {"rate_mbit": 50, "delay_ms": 8, "jitter_ms": 1},
        "up": {"rate_mbit": 10, "delay_ms": 8},
        "source": "my own [measurement]",
        "latency": "16 ms RTT, halved",
    }
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(MINE))
    return file


def shown(reference: str | None, width: int = 200) -> str:
    console = Console(width=width, force_terminal=True, no_color=True)
    with console.capture() as captured:
        show_profiles(reference, console)
    return captured.get()


@pytest.mark.parametrize("width", [80, 200])
def test_every_profile_has_its_line_with_all_numbers(width: int) -> None:
    text = shown(None, width)
    for profile in catalogue().values():
        (line,) = [line for line in text.splitlines() if f" {profile.name} " in line]
        assert f"{profile.down.rate_mbit:g}" in line and f"{profile.up.rate_mbit:g}" in line
        assert f"{profile.down.delay_ms:g}" in line
        assert profile.source[:10] in line
    assert "jitter ms: 0 everywhere, buffer BDP: 1 everywhere" in text


def test_one_profile_is_shown_with_its_source_and_the_buffer_that_it_gets() -> None:
    text = shown("edge")
    assert 'Augmented Traffic Control, utils/profiles, "Edge - Lossy"' in text
    assert "400 ms down and 440 ms up one-way, as given" in text
    assert "25,200" in text  # 0.24 Mbit/s times 840 ms
    assert "15,140" not in text.split("one-way delay")[0]


def test_a_file_of_ones_own_is_shown_like_the_catalogue(mine: Path) -> None:
    assert "my own [measurement]" in shown(f"{mine}:home")
    with pytest.raises(BadTopologyError, match=r"mine\.yaml: profile 'cellar' is not known"):
        shown(f"{mine}:cellar")
    with pytest.raises(BadTopologyError, match=r"absent\.yaml: cannot be read"):
        shown("absent.yaml")
    mine.write_text("home: {down: {rate_mbit: 0}}")
    with pytest.raises(BadTopologyError, match=r"mine\.yaml: profile home: down\.rate_mbit: "):
        shown(str(mine))
    mine.write_text("home: [")
    with pytest.raises(BadTopologyError, match=r"mine\.yaml: cannot be read: ") as refusal:
        shown(str(mine))
    assert "\n" not in str(refusal.value)


def test_an_experiment_names_a_profile_of_the_file_beside_it(mine: Path) -> None:
    file = mine.with_name("experiment.yaml")
    network = {"shape": "chain", "hosts": ["a", "b"], "links": "mine.yaml:home"}
    accordion = {"model": "m", "server": "b", "downloads": [{"ue": "a", "steps": [{"all": True}]}]}
    file.write_text(yaml.safe_dump({"name": "t", "network": network, "accordion": accordion}))
    spec = build_network(load_experiment(file).network)
    ((_, profile),) = spec.shaped_links
    assert (profile.name, profile.down.rate_mbit, profile.up.jitter_ms) == ("home", 50, 0)
