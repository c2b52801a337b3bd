"""A placement of the ECP5 made faster: late words of logic change places with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.boards.placement import SITES, Placement
from bittern.gen.progress import silent

if TYPE_CHECKING:
    from bittern.boards.placement import Site
    from bittern.gen.progress import Progress

__all__ = ["refine"]

STEP = 0.96
"""Each aim over the one before it: what is only a bit late is moved when the worst has been."""
PASSES = 6
"""Times that late words are gone through for one aim."""
TODO = 400
GAIN = 0.05
"""Nanoseconds of slack that are worth a move."""
EASE = 0.25
"""Nanoseconds of slack that are as good as more."""
EARLIER = 0.3
"""Nanoseconds by which a word of the same slack has to be done earlier: what follows may follow."""
LENGTH, DONE = 0.002, 0.02
"""What a nanosecond of wires counts, and one until a word is done, in nanoseconds of slack."""
PLACES = 400
"""Places that are tried, the most promising first."""
TRIES = 60
WORDS = 16
"""That move together at most."""
SAME = 1e-9


def refine(netlist: dict[str, Any], clock_mhz: float, progress: Progress = silent) -> float:
    """Move what is late in a placed netlist (nextpnr's JSON); return the clock in MHz to expect.

    nextpnr places all of a design at once by the length of its wires, and leaves some words far
    from the rest. Here one late word after the other changes places with what is elsewhere if the
    worst path of all that moves becomes faster: whole slices, so that chains remain chains. Cells
    that are wired to blocks, multipliers or pins stay, as do wide multiplexers.

    Parameters
    ----------
    netlist : changed
    clock_mhz : float
        At which there is nothing more to do.
    progress : told how much is done
    """
    wanted = 1000 / clock_mhz
    placement = Placement(netlist, wanted)
    best = aim = begin = wanted - float(placement.slack.min())
    kept = placement.places()
    before = np.inf
    while wanted < best < before and aim > wanted:
        before, aim = best, max(aim * STEP, wanted)
        placement.period = aim
        placement.measure()
        for _ in range(PASSES):
            moved = _pass(placement)
            period = aim - float(placement.measure().min())
            if period < best:
                best, kept = period, placement.places()
            if not moved or period <= aim:
                break
        progress("refining", (begin - aim) / (begin - wanted))
    placement.restore(kept)
    placement.write()
    return 1000 / best


def _pass(placement: Placement) -> int:
    """Move late words and flip-flops, the latest first; return how many."""
    todo: dict[tuple[bool, int], float] = {}
    """Flip-flops by themselves, and words by their number, and their slack."""
    for k in np.flatnonzero(placement.slack < 0).tolist():
        lut = k if not placement.cells[k].ff else next(
            (source for pin, source, _ in placement.cells[k].sources if pin == "DI"), None)
        key = (True, k) if lut is None else (False, placement.word_of[lut])
        todo[key] = min(todo.get(key, 0.0), float(placement.slack[k]))
    moved = 0
    for lone, k in sorted(todo, key=lambda key: (todo[key], key))[:TODO]:
        moved += (_move_register(placement, k) if lone
                  else _move_words(placement, [k]) or _move_words(placement, _cone(placement, k)))
    return moved


def _cone(placement: Placement, index: int) -> list[int]:
    """Return a word and the late ones that read it, and so on; each before those that read it."""
    cone, left = {index}, [index]
    while left:
        for k in placement.words[left.pop()]:
            for _, sink, _ in placement.cells[k].sinks:
                following = placement.word_of.get(sink)
                if following is not None and following not in cone and placement.slack[sink] < 0:
                    cone.add(following)
                    left.append(following)
    return sorted(cone, key=lambda word: placement.rank[placement.words[word][0]])


def _move_words(placement: Placement, indices: list[int]) -> bool:
    """Move words to where they are done earlier; return whether their worst slack has grown.

    A word by itself may also be done earlier with the same slack, so that the next one can follow.
    """
    words = [placement.words[index] for index in indices]
    if len(words) > WORDS:
        return False
    everything = [k for word in words for k in word]
    now = _worst(placement, everything)
    swaps = []
    after = set(everything)
    for word in words:
        after -= set(word)
        swap = _best_swap(placement, word, after, now)
        if swap:
            placement.swap(*swap)
            swaps.append(swap)
        elif len(words) == 1:
            return False
        placement.follow(word)
    worst = _worst(placement, everything)
    if worst > now + GAIN or len(words) == 1:
        return True
    for swap in reversed(swaps):
        placement.swap(*swap)
    for word in words:
        placement.follow(word)
    return False


def _best_swap(placement: Placement, word: list[int], after: set[int], least: float
               ) -> tuple[Site, Site, int] | None:
    """Return the best swap for a word, as of :meth:`Placement.swap`, with all slack above `least`.

    Words that come `after` it will be where it is.
    """
    cells = placement.cells
    here = placement.x[word][None], placement.y[word][None]
    (now,), (then,), _ = placement.at_places(word, *here, after)
    begin = cells[word[0]].at
    first = begin // 2 * 2
    count = (begin + len(word) + 1) // 2 * 2 - first
    site = cells[word[0]].row, first
    tiles = placement.tiles_around(word + [placement.register_of[k] for k in word
                                           if k in placement.register_of])
    rows = np.repeat(tiles[:, 0], SITES // 2)
    firsts = (SITES * tiles[:, 1, None] + np.arange(0, SITES, 2)).ravel()
    at = firsts[:, None] + (begin - first) + np.arange(len(word))
    slack, done, length = placement.at_places(
        word, at // SITES, np.broadcast_to(rows[:, None], at.shape), after)
    better = (slack > now + GAIN) | (slack > now - SAME) & (done < then - EARLIER)
    if after:
        better |= (slack > least + GAIN) & (done < then - EARLIER)
    promising = np.flatnonzero(better)
    value = np.minimum(slack, EASE) - LENGTH * length - DONE * done
    if after:
        value -= done
    promising = promising[np.argsort(-value[promising], kind="stable")][:PLACES]
    own = _free(placement, site, count)
    if own is None:
        return None
    own = [k for k in own if k not in word]
    best: tuple[float, Site] | None = None
    tried = 0
    for k in promising.tolist():
        there = int(rows[k]), int(firsts[k])
        if there[0] == site[0] and abs(there[1] - first) < count:
            continue
        others = _free(placement, there, count)
        if others is None or not after.isdisjoint(others):
            continue
        tried += 1
        placement.swap(site, there, count)
        worst = min(_worst(placement, own), _worst(placement, others), float(slack[k]), EASE) \
            if placement.allowed(*site, count) and placement.allowed(*there, count) else -np.inf
        placement.swap(site, there, count)
        if worst > least + GAIN or (not after and worst > now - SAME and done[k] < then - EARLIER):
            score = worst - DONE * done[k] - (done[k] if after else 0)
            if best is None or score > best[0] + DONE:
                best = score, there
            if worst >= EASE or after:
                break
        if tried > TRIES:
            break
    return (site, best[1], count) if best else None


def _free(placement: Placement, site: Site, count: int) -> list[int] | None:
    """Return what is at some sites, or none if that cannot move as it is."""
    row, first = site
    if not all((row, x) in placement.tiles
               for x in range(first // SITES, (first + count - 1) // SITES + 1)):
        return None
    there = placement.within(row, first, count)
    for k in there:
        cell = placement.cells[k]
        if cell.fixed:
            return None
        if not cell.ff:
            word = placement.words[placement.word_of[k]]
            if placement.cells[word[0]].at < first or placement.cells[word[-1]].at >= first + count:
                return None
    return there


def _worst(placement: Placement, cells: list[int]) -> float:
    """Return the worst slack of the words and flip-flops among `cells`."""
    worst = np.inf
    for index in dict.fromkeys(placement.word_of[k] for k in cells if k in placement.word_of):
        word = placement.words[index]
        slack, _, _ = placement.at_places(word, placement.x[word][None], placement.y[word][None])
        worst = min(worst, float(slack[0]))
    for k in cells:
        if placement.cells[k].ff:
            slack, _ = placement.register_at_places(k, placement.x[[k]], placement.y[[k]])
            worst = min(worst, float(slack[0]))
    return worst


def _move_register(placement: Placement, k: int) -> bool:
    """Move a flip-flop that stands by itself to where one is free; return whether it did."""
    cells = placement.cells
    if cells[k].fixed:
        return False
    (now,), _ = placement.register_at_places(k, placement.x[[k]], placement.y[[k]])
    tiles = placement.tiles_around([k])
    slack, length = placement.register_at_places(k, tiles[:, 1], tiles[:, 0])
    promising = np.flatnonzero(slack > now + GAIN)
    value = np.minimum(slack, EASE) - LENGTH * length
    for tile in promising[np.argsort(-value[promising], kind="stable")][:PLACES].tolist():
        row, x = tiles[tile].tolist()
        for at in range(SITES * x, SITES * (x + 1)):
            lut = placement.sites.get((row, at, False))
            if (row, at, True) in placement.sites or (lut is not None and cells[lut].fixed):
                continue
            old = cells[k].row, cells[k].at
            placement.move(k, (row, at))
            if placement.allowed(row, at, 1):
                return True
            placement.move(k, old)
    return False
