"""A benchmark's figures as a picture: a bar a figure, with a whisker from min to max."""

from collections.abc import Sequence
from html import escape

from benchmarks.harness.kinds import Kind, kind_of
from benchmarks.harness.outcome import Figure, Outcome
from benchmarks.harness.shown import number, readable

# Pixels: a bar's row, a group's title, the bars at their longest, the picture's margins.
_ROW, _TITLE, _BAR, _EDGE = 26, 40, 360, 20
# The width of a letter at this font's size, generously: a gap is better than a label cut off.
_LETTER = 8.2
_FONT = 'system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif'
_STYLE = f"""\
  <style>
    text {{ font: 14px {_FONT}; fill: #1f2328; }}
    .unit {{ font-weight: 600; }}
    .right {{ text-anchor: end; }}
    .page {{ fill: #ffffff; stroke: #d0d7de; }}
    .ours {{ fill: #2f6fde; }}
    .peer {{ fill: #d08a2e; }}
    .limit {{ fill: #afb8c1; }}
    .other {{ fill: #6a9a8b; }}
    .whisker {{ fill: none; stroke: #1f2328; stroke-width: 1.5; }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #e6edf3; }}
      .page {{ fill: #0d1117; stroke: #30363d; }}
      .ours {{ fill: #4f8cf5; }}
      .peer {{ fill: #c98a3a; }}
      .limit {{ fill: #57606a; }}
      .other {{ fill: #5c8f80; }}
      .whisker {{ stroke: #e6edf3; }}
    }}
  </style>
"""


def picture(outcome: Outcome) -> str:
    """The figures, a group for each unit."""
    figures = [readable(figure) for figure in outcome.figures]
    units = list(dict.fromkeys(figure.unit for figure in figures))
    bars = [(figure, kind_of(figure, outcome)) for figure in figures]
    groups = [[bar for bar in bars if bar[0].unit == unit] for unit in units]
    labels = _LETTER * max((len(figure.name) for figure in figures), default=0)
    values = _LETTER * max((len(_value(figure)) for figure in figures), default=0)
    left = round(_EDGE + labels + 10)
    width = round(left + _BAR + 10 + values + 2 * _LETTER + _EDGE)
    height = _EDGE + sum(_TITLE + _ROW * len(group) for group in groups)
    body, top = [], _EDGE
    for group in groups:
        body.append(_group(group, left=left, top=top))
        top += _TITLE + _ROW * len(group)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-labelledby="title desc">\n'
        f'  <title id="title">{escape(outcome.title)}</title>\n'
        f'  <desc id="desc">{escape("; ".join(map(_sentence, figures)))}</desc>\n'
        f"{_STYLE}"
        f'  <rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="12" '
        f'class="page"/>\n{"".join(body)}</svg>\n'
    )


def _group(bars: Sequence[tuple[Figure, Kind]], *, left: int, top: int) -> str:
    unit = bars[0][0].unit
    lines = [f'  <text x="{_EDGE}" y="{top + 18}" class="unit">{escape(unit)}</text>\n']
    longest = _longest(bars)
    for place, (figure, kind) in enumerate(bars):
        here = top + 28 + place * _ROW
        lines.append(_bar(figure, kind, left=left, top=here, longest=longest))
    return "".join(lines)


def _longest(bars: Sequence[tuple[Figure, Kind]]) -> float:
    """The value at the bars' end; a limit far above the others is cut off there, with an arrow."""
    longest = max(figure.series.high for figure, _ in bars)
    contenders = [figure.series.high for figure, kind in bars if kind != "limit"]
    return min(longest, 1.3 * max(contenders, default=longest)) or 1.0


def _bar(figure: Figure, kind: Kind, *, left: int, top: int, longest: float) -> str:
    series = figure.series
    low, median, high = (
        left + _BAR * min(value / longest, 1) for value in (series.low, series.median, series.high)
    )
    middle = top + 9
    whisker = (
        f'  <path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8'
        f'M{high:.1f} {middle - 4}v8" class="whisker"/>\n'
        if high - low >= 1
        else ""
    )
    arrow = "→ " if series.median > longest else ""
    return (
        f'  <text x="{left - 10}" y="{top + 14}" class="right">{escape(figure.name)}</text>\n'
        f'  <rect x="{left}" y="{top}" width="{max(median - left, 1):.1f}" height="18" rx="2" '
        f'class="{kind}"/>\n{whisker}'
        f'  <text x="{max(median, high) + 10:.1f}" y="{top + 14}">{arrow}{_value(figure)}</text>\n'
    )


def _value(figure: Figure) -> str:
    return number(figure.series.median)


def _sentence(figure: Figure) -> str:
    return f"{figure.name}: {_value(figure)} {figure.unit}"
