"""Reads tiers of intervals as the library textgrid does."""

from textgrid import TextGrid


def read(path):
    grid = TextGrid.fromFile(path)
    tiers = [[tier.name, [[one.minTime, one.maxTime, one.mark] for one in tier]] for tier in grid]
    return {"end": grid.maxTime, "tiers": tiers}
