"""The 736 images that published FCN numbers are validated on, where no devkit has a list of them.

FCN trains on the 8,498 images of SBD train, which hold many images of VOC's own segmentation val. What is
left of VOC2011 val without them is called seg11valid, and its code carries the names
(github.com/shelhamer/fcn.berkeleyvision.org, data/pascal/seg11valid.txt, commit 1305c73). With VOC2011 at
hand it is a difference of two lists, but the organisers now offer VOC2012, whose val has images more, and
nothing in that archive tells the new from the old. So the names are kept here, as in that file and in its
order. All 736 stand in VOC2012 val, in that order; 394 of them have SBD masks, too.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

from ssl_bench.errors import UserError

SEG11VALID = "seg11valid"
SEG11VALID_YEARS = ("VOC2011", "VOC2012")


@cache
def seg11valid_ids() -> tuple[str, ...]:
    """The 736 image names, sorted."""
    return tuple(Path(__file__).with_name("seg11valid.txt").read_text(encoding="ascii").split())


def seg11valid_of(val_ids: Collection[str], *, where: str) -> tuple[str, ...]:
    """The 736 image names, if all stand in the segmentation val list of the devkit `where`.

    Raises:
        UserError: Some do not, so that this is not the whole year.
    """
    there = set(val_ids)
    missing = [image_id for image_id in seg11valid_ids() if image_id not in there]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} of the {len(seg11valid_ids())} images of {SEG11VALID} are not in its "
            f"Segmentation list val, the first is {missing[0]}. It takes the whole VOC2011 or VOC2012; on a "
            "part of it judge on another split."
        )
    return seg11valid_ids()
