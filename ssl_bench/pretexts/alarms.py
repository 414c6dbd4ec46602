"""Signs that an adversarial game has ended: a discriminator that always wins, a generator that paints one thing."""

from __future__ import annotations

from collections.abc import Mapping

# Ours. A discriminator that cannot tell has a loss of 2 log 2 = 1.39 (real and painted, summed); one that is
# sure has one near 0. `spread` is a standard deviation of pixels in [-1, 1].
SURE = 0.05
SAME = 0.01
LONG = 10  # logged points in a row; a run logs some 200

SIGNS = {
    "discriminator.loss": (
        SURE,
        "the discriminator has been sure of every picture for {points} logged points (loss {value:.4f}): the "
        "adversarial loss teaches the generator little now. Lower pretext.discriminator_optimizer.lr",
    ),
    "generator.spread": (
        SAME,
        "the generator has painted the same for every image for {points} logged points (spread {value:.4f}): "
        "it has collapsed. Start again with a lower optimizer.lr or another seed",
    ),
}


class CollapseWatch:
    """Looks at each logged line of losses; raises an alarm once for each long stretch of a bad sign."""

    def __init__(self) -> None:
        self._in_a_row = dict.fromkeys(SIGNS, 0)

    def look(self, losses: Mapping[str, float]) -> list[str]:
        """Return the alarms that this line sets off; most lines set off none."""
        alarms = []
        for name, (threshold, words) in SIGNS.items():
            value = losses.get(name, losses.get(name.removeprefix("generator.")))
            if value is None:
                continue
            self._in_a_row[name] = self._in_a_row[name] + 1 if value < threshold else 0
            if self._in_a_row[name] == LONG:
                alarms.append(words.format(points=LONG, value=value))
        return alarms
