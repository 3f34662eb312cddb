"""What people said: shares with Wilson's intervals, told apart by the key."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.study.questions import HUMAN, MADE, REAL
from lightning_modules.errors import ImpastoError
from metrics.functional.intervals import wilson_interval

COLUMNS = ("study", "voter", "trial", "question", "shown", "choice", "seconds", "at")
LEVEL = 0.95


@dataclass(frozen=True)
class Vote:
    """One answer of one person.

    Attributes:
        voter: Who.
        trial: To what.
        choice: The option's id, or yes or no.
    """

    voter: str
    trial: str
    choice: str


def read_key(path: Path) -> dict[str, Any]:
    """Return the key of a study.

    Raises:
        ImpastoError: If it cannot be read, or is none.
    """
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImpastoError(f"The key {path} cannot be read ({error}): give the key.json of the study.") from error
    if not isinstance(key, dict) or not {"study", "protocol", "methods", "trials"} <= key.keys():
        raise ImpastoError(f"{path} is no key of a study: give the key.json that `impasto study` wrote.")
    return key


def read_votes(paths: Sequence[Path], key: Mapping[str, Any]) -> list[Vote]:
    """Return the votes of all files; of two by one person on one trial, the later line counts.

    Raises:
        ImpastoError: If a file cannot be read, is of another study, or has a vote that the study does not know.
    """
    votes: dict[tuple[str, str], Vote] = {}
    for path in paths:
        for number, row in enumerate(_rows(path), 2):
            _check(row, key, f"Line {number} of {path}")
            votes[row["voter"], row["trial"]] = Vote(row["voter"], row["trial"], row["choice"])
    if not votes:
        raise ImpastoError("There are no votes in these files: give those that the page saved.")
    return list(votes.values())


def count_votes(votes: Sequence[Vote], key: Mapping[str, Any]) -> dict[str, Any]:
    """Count votes.

    Returns:
        ``voters`` and ``votes``; ``preference``: by question and method the share of the votes where it was shown that
        chose it, with Wilson's interval; ``duels``: the same of every two methods that were shown together, and
        ``consensus``, the share of trials that most of their voters gave to the first, a tie half to each; and
        ``deception``: by method, and of the works by people, the share that was taken for a person's.
    """
    trials = key["trials"]
    by_question: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_question[trials[vote.trial]["question"]].append(vote)
    judged = by_question.pop("deception", [])
    return {
        "format": 1,
        "study": key["study"],
        "protocol": key["protocol"],
        "level": LEVEL,
        "voters": len({vote.voter for vote in votes}),
        "votes": len(votes),
        "preference": {question: _preference(them, trials) for question, them in sorted(by_question.items())},
        "duels": {question: _duels(them, trials) for question, them in sorted(by_question.items())},
        "deception": _deception(judged, trials),
    }


def table_of(counted: Mapping[str, Any]) -> list[list[Any]]:
    """Return the counts as lines of cells, the header first."""
    lines: list[list[Any]] = [["question", "method", "against", "share", "low", "high", "votes", "consensus"]]
    for question, methods in counted["preference"].items():
        lines += [[question, method, "all", *_cells(entry), ""] for method, entry in methods.items()]
        lines += [
            [question, duel["method"], duel["against"], *_cells(duel), duel["consensus"]]
            for duel in counted["duels"][question]
        ]
    return lines + [["deception", method, "", *_cells(entry), ""] for method, entry in counted["deception"].items()]


def _cells(entry: Mapping[str, Any]) -> list[Any]:
    return [entry[name] for name in ("share", "low", "high", "votes")]


def _share(hits: float, count: int) -> dict[str, Any]:
    interval = wilson_interval(hits, count, LEVEL)
    low, high = (None, None) if interval is None else interval
    return {"share": hits / count, "low": low, "high": high, "votes": count}


def _preference(votes: Iterable[Vote], trials: Mapping[str, Any]) -> dict[str, Any]:
    chosen: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for vote in votes:
        options = trials[vote.trial]["options"]
        shown.update(options.values())
        chosen[options[vote.choice]] += 1
    return {method: _share(chosen[method], count) for method, count in sorted(shown.items())}


def _duels(votes: Iterable[Vote], trials: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Count the trials that showed two pictures, by whose they were."""
    ballots: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for vote in votes:
        options = trials[vote.trial]["options"]
        if len(options) == 2:
            first, second = sorted(options.values())
            ballots[first, second][vote.trial].append(options[vote.choice])
    found = []
    for (first, second), by_trial in sorted(ballots.items()):
        winners = [winner for each in by_trial.values() for winner in each]
        won = [each.count(first) / len(each) for each in by_trial.values()]
        consensus = sum(1.0 if share > 0.5 else 0.5 if share == 0.5 else 0.0 for share in won) / len(won)
        entry = {"method": first, "against": second, **_share(winners.count(first), len(winners))}
        found.append(entry | {"trials": len(won), "consensus": consensus})
    return found


def _deception(votes: Iterable[Vote], trials: Mapping[str, Any]) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        (method,) = trials[vote.trial]["options"].values()
        counts[method][vote.choice] += 1
    order = sorted(counts, key=lambda method: (method != HUMAN, method))
    return {method: _share(counts[method][REAL], counts[method].total()) for method in order}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImpastoError(f"The votes {path} cannot be read ({error}): give the file that the page saved.") from error
    if not set(COLUMNS) <= set(reader.fieldnames or ()):
        raise ImpastoError(f"{path} holds no votes: its columns must be {', '.join(COLUMNS)}.")
    return [{column: (row[column] or "").strip() for column in COLUMNS} for row in rows]


def _check(row: Mapping[str, str], key: Mapping[str, Any], origin: str) -> None:
    if row["study"] != key["study"]:
        raise ImpastoError(f"{origin} is a vote of the study {row['study']}, and the key is of {key['study']}.")
    trial = key["trials"].get(row["trial"])
    allowed = () if trial is None else (REAL, MADE) if trial["question"] == "deception" else trial["options"]
    if not row["voter"] or row["choice"] not in allowed:
        raise ImpastoError(f"{origin} has a vote that the study does not know: give the file as the page saved it.")
