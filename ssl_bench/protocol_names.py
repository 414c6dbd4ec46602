"""Which protocol a task's short name stands for, and which form of a protocol mode= and budget= choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ssl_bench.errors import UserError, unknown
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipes import load_protocol, parse_override, recipe_names

BUDGETS = ("full", "quick", "demo")
MODES = ("finetune", "frozen")
# The full form that a task's short name stands for, by mode. A new default is another name here: records tell
# by their protocol's hash which one they are of, and what was a default before can still be run by its name.
DEFAULTS = {
    "voc-cls": {"finetune": "voc07-cls-all", "frozen": "voc-cls-frozen"},
    "voc-det": {"finetune": "voc07-det-fast-rcnn-40k", "frozen": "voc07-det-fast-rcnn-40k-frozen"},
    "voc-seg": {
        "finetune": "voc12-seg-fcn-alexnet-seg11valid",
        "frozen": "voc12-seg-fcn-alexnet-seg11valid-frozen",
    },
    "coco-det": {"finetune": "coco-det-1x", "frozen": "coco-det-1x-frozen"},
}
# The same for the quick and demo forms: those of VOC need nothing but a VOC, no boxes and no SBD.
SHORT_FORMS = DEFAULTS | {
    task: {mode: f"{task}-{mode}" for mode in MODES} for task in ("voc-cls", "voc-det", "voc-seg")
}
TASKS = tuple(DEFAULTS)
# Protocols that went by another name before.
RENAMED = {"voc-cls-finetune": "voc07-cls-all"}


def protocol_name(task: str, mode: str, budget: str) -> str:
    """Name the protocol that a short task name stands for, e.g. voc-cls-frozen-quick.

    Raises:
        UserError: Task, mode or budget is unknown.
    """
    for kind, given, known in (("task", task, TASKS), ("mode", mode, MODES), ("budget", budget, BUDGETS)):
        if given not in known:
            raise unknown(kind, given, known)
    if budget == "full":
        return DEFAULTS[task][mode]
    return f"{SHORT_FORMS[task][mode]}-{budget}"


def resolve_protocol(task: str, overrides: Sequence[str], *, real_data: bool) -> tuple[Protocol, list[str]]:
    """Resolve a task name with mode=, budget= and other settings into a protocol.

    Args:
        task: A short name (voc-cls), a protocol's full name, or the path of a YAML file.
        real_data: Whether real data was named: then the full form is a short name's default, else the quick one.

    Returns:
        The protocol and the settings that were changed in it.
    """
    choices: dict[str, str] = {}
    rest = []
    for text in overrides:
        keys, value = parse_override(text)
        if keys in (["mode"], ["budget"]):
            choices[keys[0]] = str(value)
        else:
            rest.append(text)
    if task in TASKS:
        budget = choices.get("budget", "full" if real_data else "quick")
        name = protocol_name(task, choices.get("mode", MODES[0]), budget)
    else:
        name = _form(task, choices)
    return load_protocol(name, rest), rest


def _form(given: str, choices: Mapping[str, str]) -> str:
    """Name the form of a protocol that mode= and budget= choose, e.g. NAME-frozen-quick."""
    name = RENAMED.get(given, given)
    mode, budget = choices.get("mode", ""), choices.get("budget", "")
    for kind, given, known in (("mode", mode, MODES), ("budget", budget, BUDGETS)):
        if given and given not in known:
            raise unknown(kind, given, known)
    form = name + ("-frozen" if mode == "frozen" else "") + (f"-{budget}" if budget in BUDGETS[1:] else "")
    if form != name and form not in recipe_names("transfer"):
        forms = [other for other in recipe_names("transfer") if other.startswith(name)]
        raise UserError(
            f"there is no protocol {form}: mode= and budget= choose among the forms of {', '.join(TASKS)} and of "
            f"protocols that have them; {name} has {', '.join(forms) or 'one form'}"
        )
    return form
