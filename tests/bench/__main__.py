"""Measure, print the table, write ``build/bench.json``."""

import argparse
import asyncio
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench import (
    attribution,
    claims,
    freshness,
    identity,
    memory,
    path,
    postbacks,
    projection,
    redirects,
    rules,
    tracing,
    warehouse,
    whole_mesh,
)
from tests.bench.figure import Figure, table
from tests.bench.machine import busy_share, facts
from tests.bench.run import FULL, QUICK, ROOT, BenchError, Pace
from tests.mesh.process import ProcessError

Measurement = Callable[[Path, Pace], Awaitable[list[Figure]]]
MEASUREMENTS: dict[str, Measurement] = {
    "redirects": redirects.measure,
    "rules": rules.measure,
    "tracing": tracing.measure,
    "memory": memory.measure,
    "path": path.measure,
    "projection": projection.measure,
    "identity": identity.measure,
    "freshness": freshness.measure,
    "mesh": whole_mesh.measure,
    "postbacks": postbacks.measure,
    "warehouse": warehouse.measure,
    "claims": claims.measure,
    "attribution": attribution.measure,
}


async def measure(names: list[str], pace: Pace, directory: Path) -> list[Figure]:
    """Run the measurements one after the other; one that cannot be made is a line of the table too."""
    figures: list[Figure] = []
    for name in names:
        began = time.monotonic()
        busy = await asyncio.to_thread(busy_share)
        print(f"measuring: {name} (others use {busy:.0%} of the machine) …", file=sys.stderr, flush=True)
        place = directory / name
        place.mkdir()
        try:
            found = [
                dataclasses.replace(figure, details={**figure.details, "busy_share_before": busy})
                for figure in await MEASUREMENTS[name](place, pace)
            ]
        except (BenchError, ProcessError) as error:
            found = [Figure(name=name, measured="could not be measured", result=str(error)[:500], is_met=False)]
        figures += found
        # Journals of a million events: the next measurement needs the place.
        shutil.rmtree(place)
        print(f"measuring: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
        print(table(found), file=sys.stderr, flush=True)
    return figures


def main() -> None:
    """Parse the command line, measure, report. Exits with 1 when a figure is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke of everything; its figures mean little")
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), help="measure these alone")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json", help="where the JSON goes")
    arguments = parser.parse_args()
    pace = QUICK if arguments.quick else FULL
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output and not in /tmp, which may be a tmpfs, where a sync costs nothing.
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.output.parent))
    machine = facts(directory)
    try:
        figures = asyncio.run(measure(arguments.only or list(MEASUREMENTS), pace, directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result = {"machine": machine, "is_quick": arguments.quick, "figures": [dataclasses.asdict(f) for f in figures]}
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{machine['cpu']}, {machine['core_count']} cores, journal on {machine['journal_file_system']}")
    print(table(figures))
    if any(figure.is_met is False for figure in figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
