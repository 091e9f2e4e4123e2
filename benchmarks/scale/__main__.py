"""The tables of docs/scale.md: python -m benchmarks.scale [--without-ray] [--out FILE]."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.harness.own_ray import own_ray
from benchmarks.scale.arithmetic import FULL, MANY, ledger_lines, order_lines
from benchmarks.scale.engine import engine_lines
from benchmarks.scale.line import Line, table
from benchmarks.scale.planning import planning_lines

_PARTS: dict[str, Callable[[], Iterable[Line]]] = {
    "The plan": planning_lines,
    "The order, a million fragments": lambda: order_lines(FULL),
    "The order, ten million fragments": lambda: order_lines(MANY),
    "The ledger": lambda: ledger_lines(FULL),
    "Ray": lambda: _on_ray(),
}


def main() -> None:
    """Prints a table for each part, as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--without-ray", action="store_true", help="leave out what needs a Ray")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    tables = []
    for title, lines in _PARTS.items():
        if title == "Ray" and options.without_ray:
            continue
        tables.append(table(title, lines()))
        print(f"{tables[-1]}\n", flush=True)
    if options.out:
        options.out.write_text("\n\n".join(tables) + "\n")


def _on_ray() -> list[Line]:
    with own_ray():
        return list(engine_lines())


if __name__ == "__main__":
    main()
