"""What the papers claim, asked of the records."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.leaderboard.contestants import Roster
from experiments.leaderboard.records import Record
from experiments.leaderboard.statistics import Difference, difference
from lightning_modules.errors import ImpastoError

Verdict = Literal["holds", "does not hold", "undecided", "not measured", "cannot be asked"]


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, and how it is asked.

    Args:
        paper: The method's name.
        says: The claim, in our words.
        source: Where it says so.
        better: Key of the contestant that should be better.
        than: Keys of those that it should be better than.
        by: Metrics that should show it.
        cannot: Why it cannot be asked here; then the three above are empty.
    """

    paper: str
    says: str
    source: str
    better: str = ""
    than: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    cannot: str = ""


@dataclass(frozen=True)
class Answer:
    """One line: a claim by one metric against one other contestant.

    Attributes:
        claim: What is asked.
        than: Key of the other contestant.
        metric: Key of the metric.
        found: By how much it is better, positive where it is, whatever the metric's direction; None where unknown.
    """

    claim: Claim
    than: str = ""
    metric: str = ""
    found: Difference | None = None

    @property
    def verdict(self) -> Verdict:
        """Return what the interval says: it holds above 0, does not hold below, and is undecided around it."""
        if self.claim.cannot:
            return "cannot be asked"
        if self.found is None:
            return "not measured"
        if not self.found.sure:
            return "undecided"
        return "holds" if self.found.mean > 0 else "does not hold"


def read_claims(roster: Roster) -> list[Claim]:
    """Return the claims of a roster.

    Raises:
        ImpastoError: If one names a contestant that is not there, or asks across tables.
    """
    claims = []
    sections = {who.key: who.section for who in roster.contestants}
    for said in roster.claims:
        settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
        try:
            claim = Claim(**settings)
        except TypeError as error:
            raise ImpastoError(f"A claim of the leaderboard is not what it should be ({error}).") from error
        names = [] if claim.cannot else [claim.better, *claim.than]
        unknown = [name for name in names if name not in sections]
        if unknown:
            raise ImpastoError(f"A claim of {claim.paper} names {unknown[0]}, who is not on the leaderboard.")
        if len({sections[name] for name in names}) > 1 or not (claim.cannot or (claim.than and claim.by)):
            raise ImpastoError(f"A claim of {claim.paper} compares nothing, or what stands in two tables: {claim.says}")
        claims.append(claim)
    return claims


def ask(claims: Sequence[Claim], records: Mapping[str, Sequence[Record]]) -> list[Answer]:
    """Answer all claims.

    Args:
        claims: What is asked.
        records: Of all seeds, by the contestant's key.

    Returns:
        For each claim a line a metric and contestant, in their order.
    """
    answers = []
    for claim in claims:
        if claim.cannot:
            answers.append(Answer(claim))
        for metric in claim.by:
            answers += [Answer(claim, than, metric, _asked(claim.better, than, metric, records)) for than in claim.than]
    return answers


def summed_up(answers: Sequence[Answer]) -> str:
    """Return what all lines of one claim say together: their common verdict, or in how many it is which."""
    counts = Counter(answer.verdict for answer in answers)
    if len(counts) < 2:
        return next(iter(counts), "not measured")
    return ", ".join(f"{verdict} in {count} of {counts.total()}" for verdict, count in counts.most_common())


def _asked(better: str, than: str, metric: str, records: Mapping[str, Sequence[Record]]) -> Difference | None:
    first, second = records.get(better, ()), records.get(than, ())
    found = difference(first, second, metric)
    if found is None:
        return None
    sign = -1 if _direction(first, metric) == "lower" else 1
    ends = [None if end is None else sign * end for end in (found.low, found.high)]
    return Difference(sign * found.mean, *(ends if sign == 1 else ends[::-1]))


def _direction(records: Sequence[Record], metric: str) -> Any:
    return next(record.metrics[metric]["better"] for record in records if metric in record.metrics)
