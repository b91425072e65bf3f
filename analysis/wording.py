"""Numbers in words: nouns that agree with their number, figures compared in one way.

Everything that a person reads of a run (report, terminal, captions) takes its words from here.
"""

from collections.abc import Sequence
from typing import Literal

Interval = tuple[float, float]
Side = Literal["less", "more", "same"]

MISSING = "\u2013"
NOTHING_TO_COMPARE = "nothing to compare"
WITHIN_INTERVAL = "the same within its interval"


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with thin spaces between thousands; a dash for what was not measured."""
    if value is None:
        return MISSING
    shown = f"{value:,.{digits}f}".replace(",", "\u202f")
    is_zero = not any(digit in shown for digit in "123456789")
    return shown.replace("-", "" if is_zero else "\u2212")


def signed(value: float | None, digits: int = 0) -> str:
    """Write a difference: with its sign, unless it is 0 to these digits."""
    shown = number(value, digits)
    return f"+{shown}" if value is not None and side(value, digits) == "more" else shown


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as percentage."""
    return MISSING if share is None else f"{number(share * 100, digits)}\u00a0%"


def listed(words: Sequence[str]) -> str:
    """Join words: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def plural(noun: str) -> str:
    """Form the plural of an English noun."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def agreeing(count: float, one: str, many: str) -> str:
    """Choose the word that agrees with a number: was or were, its or their."""
    return one if count == 1 else many


def counted(count: int, noun: str) -> str:
    """Write a number and its noun: 1 answer, 2 answers."""
    return f"{number(count)} {agreeing(count, noun, plural(noun))}"


def side(difference: float, digits: int, interval: Interval | None = None) -> Side:
    """Judge a difference: less, more, or the same, to the digits shown and within its interval."""
    if interval is not None and interval[0] <= 0 <= interval[1]:
        return "same"
    if not round(difference, digits):
        return "same"
    return "less" if difference < 0 else "more"


def compared(
    before: float | None,
    after: float | None,
    interval: Interval | None = None,
    words: tuple[str, str] = ("less", "more"),
) -> str:
    """Word how a figure changed: ``12.3 % less``, ``4.0 % more``, or the same.

    ``interval`` is the 95 % interval of ``after - before``; a change within it is none.
    """
    if before is None or after is None or before <= 0:
        return NOTHING_TO_COMPARE
    share = (after - before) / before
    judged = side(100 * share, 1, interval)
    if judged != "same":
        return f"{percent(abs(share))} {words[judged == 'more']}"
    if after == before:
        return "the same"
    return WITHIN_INTERVAL if side(100 * share, 1) != "same" else "the same to 0.1\u00a0%"


def multiples(size: float, other: float) -> str:
    """Word a number beside another: ``1.5 times as many``, ``3.0 % fewer``, ``just as many``."""
    if size == other:
        return "just as many"
    if min(size, other) <= 0:
        return NOTHING_TO_COMPARE
    if round(size / other, 1) > 1:
        return f"{number(size / other, 1)} times as many"
    if round(other / size, 1) > 1:
        return f"{number(other / size, 1)} times fewer"
    judged = compared(other, size, words=("fewer", "more"))
    return "as many to 0.1\u00a0%" if judged.startswith("the same") else judged


def points(
    before: float,
    after: float,
    interval: Interval | None = None,
    words: tuple[str, str] = ("lower", "higher"),
    digits: int = 1,
) -> str:
    """Word how a share changed, in percentage points; ``interval`` is of the shares' difference."""
    difference = 100 * (after - before)
    judged = side(difference, digits, interval)
    if judged != "same":
        count = round(abs(difference), digits)
        noun = agreeing(count, "percentage point", "percentage points")
        return f"{number(abs(difference), digits)} {noun} {words[judged == 'more']}"
    return "the same" if side(difference, digits) == "same" else WITHIN_INTERVAL
