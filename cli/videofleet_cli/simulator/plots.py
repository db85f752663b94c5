"""Plots as SVG text: a frontier of points and lines, and bars. No library: a report is one file that opens anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 860, 420, 74, 52, 40, 16
COLORS: Final = ("#2563eb", "#059669", "#dc2626", "#d97706", "#7c3aed", "#64748b", "#0891b2", "#111827")


@dataclass(frozen=True)
class Series:
    """Points of one family, joined by a line."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; a group of several values stands side by side."""

    name: str
    values: Sequence[float]


def frontier(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """Points on logarithmic axes, both the better the smaller; those far above the others are left out."""
    limit = _far(sorted(max(1.0, y) for one in series for _, y in one.points))
    series = [Series(one.name, [point for point in one.points if point[1] <= limit]) for one in series]
    points = [point for one in series for point in one.points]
    x_of = _log_scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_of = _log_scale([max(1.0, y) for _, y in points], HEIGHT - BOTTOM, TOP + 18 * math.ceil(len(series) / 3))
    body = [*_log_axis(points, x_of, y_of, x_label, y_label)]
    for number, one in enumerate(series):
        color = COLORS[number % len(COLORS)]
        places = [(x_of(x), y_of(max(1.0, y))) for x, y in sorted(one.points)]
        if len(places) > 1:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            body.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5" opacity="0.6"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{color}"/>' for x, y in places]
        body += _legend(number, one.name, color)
    return _svg(title, body)


def _far(ordered: Sequence[float]) -> float:
    """What is beyond belongs to another picture: ten times what three of four stay under."""
    return 10 * ordered[3 * (len(ordered) - 1) // 4]


def bars(title: str, y_label: str, groups: Sequence[str], rows: Sequence[Bar], *, is_log: bool = False) -> str:
    """A group of bars for each row."""
    values = [value for row in rows for value in row.values]
    top = TOP + 24
    low = 1.0 if is_log else 0.0
    if is_log:
        y_of = _log_scale([low, *(max(low, value) for value in values)], HEIGHT - BOTTOM, top)
    else:
        y_of = _linear_scale(0.0, max([*values, 1e-9]), HEIGHT - BOTTOM, top)
    step = (WIDTH - LEFT - RIGHT) / len(rows)
    thick = 0.8 * step / len(groups)
    body = [
        f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})" text-anchor="middle">{y_label}</text>'
    ]
    for number, row in enumerate(rows):
        for group, value in enumerate(row.values):
            x, y = LEFT + number * step + 0.1 * step + group * thick, y_of(max(low, value))
            color = COLORS[group % len(COLORS)]
            height = HEIGHT - BOTTOM - y
            body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{thick:.1f}" height="{height:.1f}" fill="{color}"/>')
            body.append(f'<text x="{x + thick / 2:.1f}" y="{y - 4:.1f}" text-anchor="middle">{_short(value)}</text>')
        middle = LEFT + (number + 0.5) * step
        body += _wrapped(row.name, middle)
    for group, name in enumerate(groups):
        body += _legend(group, name, COLORS[group % len(COLORS)])
    return _svg(title, body)


def _svg(title: str, body: Sequence[str]) -> str:
    heading = f'<text x="{LEFT}" y="18" font-size="15" font-weight="600">{escape(title)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="11" fill="#0f172a">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{heading}{"".join(body)}</svg>'
    )


def _log_axis(
    points: Sequence[tuple[float, float]], x_of: "Scale", y_of: "Scale", x_label: str, y_label: str
) -> list[str]:
    body = []
    for value in _ticks([x for x, _ in points]):
        x = x_of(value)
        body.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e2e8f0"/>')
        body.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_short(value)}</text>')
    for value in _ticks([max(1.0, y) for _, y in points]):
        y = y_of(value)
        body.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e2e8f0"/>')
        body.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    body.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>')
    body.append(
        f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})" text-anchor="middle">{y_label}</text>'
    )
    return body


def _legend(number: int, name: str, color: str) -> list[str]:
    x, y = LEFT + (number % 3) * 260, 36 + 16 * (number // 3)
    return [
        f'<circle cx="{x + 5}" cy="{y - 4}" r="5" fill="{color}"/>',
        f'<text x="{x + 15}" y="{y}">{escape(name)}</text>',
    ]


def _wrapped(name: str, middle: float) -> list[str]:
    """A name under its bar, in lines of one part each."""
    parts = name.split(", ")
    return [
        f'<text x="{middle:.1f}" y="{HEIGHT - BOTTOM + 14 + 12 * line}" text-anchor="middle">{escape(part)}</text>'
        for line, part in enumerate(parts[:3])
    ]


@dataclass(frozen=True)
class Scale:
    """Values to pixels."""

    low: float
    high: float
    first: float
    last: float
    is_log: bool

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, here = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.first + (here - low) / (high - low) * (self.last - self.first)


def _log_scale(values: Sequence[float], first: float, last: float) -> Scale:
    low, high = min(values), max(values)
    return Scale(low / 1.25, high * 1.25, first, last, is_log=True)


def _linear_scale(low: float, high: float, first: float, last: float) -> Scale:
    return Scale(low, high * 1.1, first, last, is_log=False)


def _ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values) / 1.25, max(values) * 1.25
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [mantissa * 10.0**decade for decade in decades for mantissa in (1, 2, 3, 5, 7)]
    return [tick for tick in ticks if low <= tick <= high]


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.2g}k" if value < 100_000 else f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
