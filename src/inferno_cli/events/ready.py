"""The keys of histograms that somebody else made: which file they are in, and what they are called there."""

from __future__ import annotations

from pydantic import Field

from inferno_cli.section import Section


class HistogramFile(Section):
    """A ROOT file with histograms that somebody else made."""

    file: str
    """The ROOT file; may hold what ``histogram`` may. Relative: to the YAML file that names it."""
    histogram: str
    """Name of a histogram in it; may hold {channel}, {sample} and {variation}. Without {variation} there is the nominal
    alone, and no shape of the channel varies it."""
    variation: str = "_{systematic}{Direction}"
    """What {variation} is for a nuisance parameter; may hold {systematic}, and {direction} (up), {Direction} (Up) or
    {DIRECTION} (UP)."""
    nominal: str = ""
    """What {variation} is for the nominal histogram."""
    names: dict[str, str] = Field(default={})
    """What the file calls a channel, a sample or a nuisance parameter, where that is not its name here."""
    overflow: bool = False
    """Count what is beyond the axis in the first and the last bin; else it is in no bin."""
