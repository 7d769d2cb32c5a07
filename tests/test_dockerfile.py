"""The example's Dockerfile: what it copies and installs is there, and nothing in it needs a certain user."""

import json
import re
import shlex
import tomllib

import pytest

from tests.conftest import EXAMPLES, ROOT
from vrx.environment import Environment

KNOWN = {"FROM", "ARG", "RUN", "COPY", "ENV", "VOLUME", "WORKDIR", "USER", "ENTRYPOINT", "CMD"}


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instructions with what follows them, comments left out and lines joined."""
    lines = [line for line in (EXAMPLES / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, rest) for word, rest in found]


def values(steps: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for name, rest in steps if name == word]


def variables(steps: list[tuple[str, str]]) -> dict[str, str]:
    pairs = [pair.partition("=") for rest in values(steps, "ENV") for pair in shlex.split(rest)]
    return {name: value for name, _, value in pairs}


def test_every_instruction_is_one(steps: list[tuple[str, str]]) -> None:
    assert {word for word, _ in steps} <= KNOWN
    assert json.loads(values(steps, "ENTRYPOINT")[0]) == ["vrx"]
    assert json.loads(values(steps, "CMD")[0]) == ["--help"]


def test_what_is_copied_is_all_that_the_package_is_built_from(steps: list[tuple[str, str]]) -> None:
    copied = {name for rest in values(steps, "COPY") if "--from" not in rest for name in shlex.split(rest)[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "vrx"}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    assert copied == needed


def test_both_stages_have_one_python_that_the_package_supports(steps: list[tuple[str, str]]) -> None:
    bases = {rest.split()[0] for rest in values(steps, "FROM")}
    assert len(bases) == 1  # a virtual environment goes from one to the other
    version = re.fullmatch(r"python:(\d+)\.(\d+)-slim-\w+", bases.pop())
    assert version is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"])
    assert least is not None
    assert tuple(map(int, version.groups())) >= tuple(map(int, least.groups()))


def test_all_that_is_written_goes_where_any_user_may_write(
    steps: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = values(steps, "USER")[-1]
    assert user not in ("root", "0")
    made = next(rest for rest in values(steps, "RUN") if rest.startswith("mkdir"))
    assert made == "mkdir -m 1777 /vrx /work"
    assert values(steps, "VOLUME") == ["/vrx"]
    found = variables(steps)
    assert found.pop("PATH").startswith("/opt/vrx/bin:")
    assert all(value == "/vrx" or value.startswith("/vrx/") for value in found.values())
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HOME", raising=False)
    environment = Environment.read()
    assert {p.parts[1] for p in (environment.models, environment.cache, environment.weights)} == {"vrx"}
