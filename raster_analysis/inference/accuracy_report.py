"""A page about accuracy: one HTML file with a table and a plot, that loads nothing and runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from jinja2 import Environment
from markupsafe import Markup

from raster_analysis.inference.accuracy import Accuracy, Curve

_COLORS = ("#0b6e4f", "#b3541e", "#2c5fa8", "#8a2d7c", "#7a6a00", "#00787a", "#a02c3a", "#4b4f9d")
_MOST_CURVES = len(_COLORS)
"""More lines cannot be told apart."""
_LEFT, _TOP, _SIDE = 52, 14, 400
"""The plot's frame in units of the drawing; equal sides, since both axes go from 0 to 1."""
_POINTS = 400
"""Points of one line (guess: as many as a screen shows)."""


def write_report(title: str, facts: Mapping[str, str], results: Sequence[Accuracy]) -> str:
    """Return the page; `facts` stand above the table, the last of `results` is all classes together."""
    *classes, whole = results
    drawn = sorted((one for one in classes if one.curve is not None), key=lambda one: -one.truths)[:_MOST_CURVES]
    page = Environment(autoescape=True).from_string(_PAGE)
    lines = [
        {"name": one.name, "color": color, "points": _points(one.curve), "average": _number(one.average_precision)}
        for one, color in zip(drawn, _COLORS, strict=False)
        if one.curve is not None
    ]
    left_out = sum(one.curve is not None for one in classes) - len(lines)
    return page.render(
        title=title, facts=facts, rows=[_row(one) for one in results], whole=_row(whole), plot=Markup(_plot(lines)),  # noqa: S704
        lines=lines, left_out=left_out,
    )  # fmt: skip


def _row(one: Accuracy) -> dict[str, str]:
    return {
        "name": one.name,
        "truths": f"{one.truths:,}",
        "detections": f"{one.true_positives + one.false_positives:,}",
        "right": f"{one.true_positives:,}",
        "wrong": f"{one.false_positives:,}",
        "missed": f"{one.false_negatives:,}",
        "precision": _number(one.precision),
        "recall": _number(one.recall),
        "f1": _number(one.f1),
        "average": _number(one.average_precision),
        "coco": _number(one.coco_average_precision),
    }


def _number(value: float) -> str:
    return "\u2013" if math.isnan(value) else f"{value:.3f}"


def _points(curve: Curve) -> str:
    """Return a line from recall 0 to where recall ends, as coordinates of the drawing."""
    last = len(curve.recall) - 1
    if last < 0:
        return ""
    chosen = sorted({round(step * last / _POINTS) for step in range(_POINTS + 1)})
    values = [(0.0, float(curve.precision[0]))]
    values += [(float(curve.recall[index]), float(curve.precision[index])) for index in chosen]
    return " ".join(f"{_LEFT + _SIDE * x:.1f},{_TOP + _SIDE * (1 - y):.1f}" for x, y in values)


def _plot(lines: Sequence[Mapping[str, str]]) -> str:
    """Return the drawing. Only numbers of ours get into it; names stand in the legend beside it."""
    right, bottom = _LEFT + _SIDE, _TOP + _SIDE
    parts = [f'<svg viewBox="0 0 {right + 14} {bottom + 48}" role="img" aria-label="Precision over recall">']
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        x, y = _LEFT + _SIDE * tick, _TOP + _SIDE * (1 - tick)
        parts.append(f'<path class="grid" d="M{x:.0f} {_TOP}V{bottom}M{_LEFT} {y:.0f}H{right}"/>')
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{tick:g}</text>')
    parts += [
        f'<polyline fill="none" stroke="{line["color"]}" stroke-width="2" points="{line["points"]}"/>' for line in lines
    ]
    parts.append(f'<text x="{_LEFT + _SIDE / 2:.0f}" y="{bottom + 40}" text-anchor="middle">Recall</text>')
    middle = _TOP + _SIDE / 2
    parts.append(
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">Precision</text>'
    )
    return "".join([*parts, "</svg>"])


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2321; background: #fff; }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: #55615c; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #dde3e0; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
thead th { color: #55615c; font-weight: 600; border-bottom: 2px solid #b9c4bf; }
tbody tr:last-child td { font-weight: 600; border-bottom: 0; border-top: 2px solid #b9c4bf; }
.plot { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
svg { width: 30rem; max-width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #55615c; }
.grid { stroke: #e3e8e6; fill: none; }
ul { list-style: none; padding: 0; margin: .5rem 0; }
.line { display: inline-block; width: 1.6rem; height: .2rem; margin-right: .5rem; vertical-align: middle; }
p.note { color: #55615c; max-width: 46rem; }
@media print { body { margin: 0; } }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<dl>{% for name, value in facts.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
<h2>By class</h2>
<div class="scroll"><table>
<thead><tr><th>Class</th><th>True objects</th><th>Detections</th><th>Right</th><th>Wrong</th><th>Missed</th>
<th>Precision</th><th>Recall</th><th>F1</th><th>AP</th><th>AP 0.5&#8211;0.95</th></tr></thead>
<tbody>{% for row in rows %}<tr><td>{{ row.name }}</td><td>{{ row.truths }}</td><td>{{ row.detections }}</td>
<td>{{ row.right }}</td><td>{{ row.wrong }}</td><td>{{ row.missed }}</td><td>{{ row.precision }}</td>
<td>{{ row.recall }}</td><td>{{ row.f1 }}</td><td>{{ row.average }}</td><td>{{ row.coco }}</td></tr>
{% endfor %}</tbody>
</table></div>
{% if lines %}<h2>Precision over recall</h2>
<div class="plot">{{ plot }}
<ul>{% for line in lines %}<li><span class="line" style="background:{{ line.color }}"></span>{{ line.name }}
(AP {{ line.average }})</li>{% endfor %}</ul></div>
{% if left_out %}<p class="note">The {{ lines|length }} classes with the most true objects are drawn;
{{ left_out }} more are in the table only.</p>{% endif %}{% endif %}
<p class="note">From the highest confidence down, each detection takes the free true object of its class that it
overlaps most; it is right when the intersection over union reaches the smallest overlap above. AP is the mean of the
best precision at 101 recalls, &#8220;AP 0.5&#8211;0.95&#8221; its mean over ten overlaps, as COCO defines both. The
last row sums the counts and averages AP over the classes that have true objects.</p>
</body>
</html>
"""
