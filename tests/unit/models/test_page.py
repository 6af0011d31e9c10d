"""docs/models.md against the code."""

import re
from pathlib import Path

from attribution_svc.models.markov import MOST_STATES
from attribution_svc.models.registry import KINDS
from attribution_svc.models.shapley import MOST_EXACT
from attribution_svc.models.simulate import VISITORS, table
from attribution_svc.models.worlds import WORLDS

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()


def test_the_page_lists_every_model_with_its_parameters_and_their_defaults() -> None:
    section = PAGE.split("## Models\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) ?\|$", section, flags=re.MULTILINE)
    listed = {name: dict(re.findall(r"`(\w+)` (\w+)", parameters)) for name, parameters in rows}
    assert listed == {
        name: {parameter.name: str(parameter.default).lower() for parameter in kind.parameters}
        for name, kind in KINDS.items()
    }


def test_the_page_shows_what_the_simulation_says() -> None:
    shown = PAGE.split("<!-- simulate -->\n")[1].split("<!-- end -->")[0]
    assert shown.strip() == table().strip()


def test_the_page_names_the_worlds_and_the_limits() -> None:
    assert all(f"*{world.name}*" in PAGE for world in WORLDS)
    assert f"{VISITORS:,} visitors each" in PAGE
    assert f"At most {MOST_STATES} states." in PAGE
    assert f"Exact up to {MOST_EXACT} channels" in PAGE
