"""Draws where an epoch's rows come from: python -m benchmarks.shuffle_picture > shuffles.svg."""

import sys

import numpy as np

from benchmarks.shuffle_quality import SHUFFLES, Shuffle, measure

SHOWN = ("none", "fragments", "window of 65,536", "window of 262,144", "window of all")
# Rows that are drawn as dots, evenly spaced over the epoch.
DOTS = 400
# Pixels: a panel's side, the gap between two, and the margins of the picture.
SIDE, GAP, LEFT, TOP = 160, 20, 48, 62
WIDTH = LEFT + len(SHOWN) * (SIDE + GAP) + 12
HEIGHT = TOP + SIDE + 46

_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" \
height="{HEIGHT}" role="img" aria-labelledby="title desc">
  <title id="title">Which row is trained when, under each shuffle</title>
  <desc id="desc">Panels with the position in an epoch to the right and the row's place in sorted \
files upwards: a diagonal without a shuffle, scattered dashes for fragments, columns of dots for \
windows, which get wider with the window, and an even cloud for all rows.</desc>
  <style>
    text {{ font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; \
font-size: 15px; fill: #1f2328; }}
    .note {{ font-size: 14px; fill: #59636e; }}
    .mid {{ text-anchor: middle; }}
    .panel {{ fill: #ffffff; stroke: #8c959f; stroke-width: 1.5; }}
    .dots {{ fill: none; stroke: #2f6fde; stroke-width: 2.4; stroke-linecap: round; }}
  </style>

  <rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12" fill="#ffffff" \
stroke="#d0d7de"/>
"""


def main() -> None:
    """Prints docs/pictures/shuffles.svg."""
    sys.stdout.write(picture())


def picture() -> str:
    """A panel for each of the shuffles that are shown."""
    named = {shuffle.name: shuffle for shuffle in SHUFFLES}
    middle = TOP + SIDE / 2
    panels = [_panel(named[name], place) for place, name in enumerate(SHOWN)]
    axes = (
        f'  <text x="{LEFT}" y="{HEIGHT - 16}" class="note">position in the epoch →</text>\n'
        f'  <text x="28" y="{middle}" class="note mid" transform="rotate(-90 28 {middle})">'
        "row in the files →</text>\n"
    )
    return "".join([_HEAD, *panels, axes, "</svg>\n"])


def _panel(shuffle: Shuffle, place: int) -> str:
    order = measure(shuffle).order
    positions = np.linspace(0, len(order) - 1, DOTS).astype(np.int64)
    left = LEFT + place * (SIDE + GAP)
    across = left + positions / len(order) * SIDE
    up = TOP + SIDE - order[positions] / len(order) * SIDE
    # A line of no length with round ends is a dot.
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in zip(across, up, strict=True))
    return (
        f'  <text x="{left + SIDE / 2}" y="{TOP - 18}" class="mid">{shuffle.name}</text>\n'
        f'  <rect x="{left}" y="{TOP}" width="{SIDE}" height="{SIDE}" class="panel"/>\n'
        f'  <path d="{dots}" class="dots"/>\n'
    )


if __name__ == "__main__":
    main()
