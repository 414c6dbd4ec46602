"""A reckoned cost as text, a line for each figure with its origin, or as JSON."""

from __future__ import annotations

from json import dumps

from ssl_bench.progress import clock
from ssl_bench.stages.costs.figures import Figure, Plan

DAY_S = 86_400
LADDERS = {
    "bytes": (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)),
    "Wh": (("MWh", 1e6), ("kWh", 1e3), ("Wh", 1.0)),
}


def plan_words(plan: Plan, *, as_json: bool) -> str:
    """Phrase a plan."""
    if as_json:
        content = {
            "recipe": plan.recipe,
            "hash": plan.hash,
            "device": plan.device,
            "processes": plan.processes,
            "title": plan.title,
            "figures": {
                name: [figure.as_json() for figure in figures] for name, figures in plan.sections.items()
            },
            "binds": plan.binds,
            "advice": plan.advice,
        }
        return dumps(content, indent=2, ensure_ascii=False) + "\n"
    lines = [f"{plan.recipe} ({plan.hash}): {plan.title}"]
    for name, figures in plan.sections.items():
        lines.append(f"\n{name}")
        if not figures:
            lines.append("  not known: --watts says what a device takes")
        lines += [f"  {figure.name:<24} {amount(figure):<26} {figure.origin}" for figure in figures]
    lines.append(f"\nwhat binds: {plan.binds}")
    lines += [f"  to change: {words}" for words in plan.advice]
    return "\n".join(lines) + "\n"


def amount(figure: Figure) -> str:
    """Phrase a number or a range in its unit."""
    ends = [_one(value, figure.unit) for value in (figure.low, figure.high)]
    if ends[0] == ends[1]:
        return ends[0]
    return f"{ends[0].removesuffix(' images/s')} to {ends[1]}"


def _one(value: float, unit: str) -> str:
    if unit == "s":
        return clock(value) if value < 2 * DAY_S else f"{value / DAY_S:.1f} days"
    if unit in LADDERS:
        name, size = next((step for step in LADDERS[unit] if value >= step[1]), LADDERS[unit][-1])
        return f"{value / size:.3g} {name}"
    if unit == "cores":
        return f"{value:g}"
    number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return number if unit == "epochs" else f"{number} {unit}"
