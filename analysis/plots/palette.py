"""Colours of UEs: one UE has one colour in all plots of a report."""

import colorsys
from dataclasses import dataclass

from matplotlib.colors import to_hex, to_rgb

from analysis.metrics.measure import Measured
from analysis.plots import style

ARROW = " → "
_LIGHTER = 0.45


@dataclass(frozen=True)
class Palette:
    """Colours of the UEs, in the order of the network; the colours left are for other hosts."""

    ues: tuple[str, ...] = ()

    def ue(self, name: str) -> str:
        """Colour of a UE; of a host that is none, one that no UE has while such are left."""
        place = self.ues.index(name) if name in self.ues else len(self.ues)
        return style.COLOURS[place % len(style.COLOURS)]

    def pair(self, label: str, index: int) -> str:
        """Colour of what two hosts (``a → b``) send: the UE's, else the ``index``-th one left."""
        mine = self._ue_of(label)
        if mine:
            return self.ue(mine)
        return style.COLOURS[(len(self.ues) + index) % len(style.COLOURS)]

    def direction(self, label: str, index: int) -> str:
        """Colour of a link's direction: the UE's both ways (lines differ); else neutral."""
        mine = self._ue_of(label)
        if mine:
            return self.ue(mine)
        if self.ues:
            return (style.BLACK, style.GREY)[index % 2]
        return style.COLOURS[index % len(style.COLOURS)]

    def _ue_of(self, label: str) -> str | None:
        """The one UE among the hosts of a label such as ``download 1: server → ue1``."""
        ends = label.rpartition(": ")[2].split(ARROW)
        found = [end for end in ends if end in self.ues]
        return found[0] if len(found) == 1 else None


def palette_of(measured: Measured) -> Palette:
    """The colours of a run: its UEs are the hosts that a model was delivered to."""
    accordion = measured.summary.accordion
    asked = {download.ue for download in accordion.downloads} if accordion else set()
    asked |= {request.ue for request in accordion.requests} if accordion else set()
    return Palette(tuple(name for name in measured.run.network.hosts if name in asked))


def lighter(colour: str) -> str:
    """Lighten a colour, in the same hue."""
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    return to_hex(colorsys.hls_to_rgb(hue, light + _LIGHTER * (1 - light), saturation))


NO_UES = Palette()
