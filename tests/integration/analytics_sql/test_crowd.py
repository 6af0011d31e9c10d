"""Memory: what statements may use together is a setting, and what they do use stays below it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.mesh import inherited_environment

pytestmark = [pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]
ROOT = Path(__file__).parents[3]


async def _crowd(directory: Path, what: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.analytics_sql.crowd",
        str(directory),
        what,
        cwd=ROOT,
        env={**inherited_environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, "it was killed"
    return json.loads(output.splitlines()[-1]) if output else None


async def test_twenty_heavy_statements_stay_below_the_setting_and_none_kills_the_process(tmp_path: Path) -> None:
    await _crowd(tmp_path, "fill")
    small, large = await _crowd(tmp_path, "256"), await _crowd(tmp_path, "2048")
    assert small["is_alive"]
    assert small["outcomes"] == {"QUERY_LIMIT": 20}
    assert small["risen_mib"] <= 256
    assert large["outcomes"] == {"answered": 20}, "it is the setting that refused them"
    assert large["risen_mib"] <= 2048
