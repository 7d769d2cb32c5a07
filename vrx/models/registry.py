"""The families of models there are, in the order in which they are tried; a new one is a line here."""

from __future__ import annotations

from vrx.models import fastvr, flashvsr, infvsr, instantvir, instavsr, relayvsr, streamdiffvsr, swiftvr
from vrx.models.embedded import model as embedded
from vrx.models.family import Family
from vrx.models.recavsr import model as recavsr
from vrx.models.satbvr import model as satbvr

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        embedded.FAMILY,
        infvsr.FAMILY,
        instantvir.FAMILY,
        flashvsr.FAMILY,
        instavsr.FAMILY,  # before Stream-DiffVSR: its UNet has names in common with that one's
        streamdiffvsr.FAMILY,
        satbvr.FAMILY,
        relayvsr.FAMILY,
        recavsr.FAMILY,
        swiftvr.FAMILY,
        fastvr.FAMILY,
    )
}
