"""Measure how often a challenge finds a miner that has lost records, against the formula, and how soon it is condemned.

Usage: python bench/detection.py [--records 10000] [--challenges 600] [--tests 20000] [--honest 1000000]
    [--svg docs/detection.svg]

Miners hold a real store of that many records and answer with the real prover; each has lost just the part that its row
says, and another lot of them every 20 challenges. The challenger and its verdict are the real ones too: what counts is
MISSING. The baseline is 1 - (1 - f)^m; intervals are Wilson's, of 95 %.

The second table is of `engram.scoring`'s ratio test. Its challenges are drawn by that formula, which the first table
has measured: an error in a million cannot be waited for otherwise. Beside it Wald's expectation, which neglects by how
much the last sample goes over the border. Of miners that lose as many as an honest one may, `--honest` are tested.
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path
from typing import NamedTuple

from engram.errors import EngramError
from engram.proofs import Challenger, Nonce, Outcome, Prover, ProverLimits, commitment_of
from engram.scoring import RatioTest, detection
from engram.testing import VALIDATOR, Miner

LOST = (0.5, 0.1, 0.01, 0.001)
SAMPLES = (16, 64, 256)
LOT = 20
STANDINGS = (0.5, 0.1, 0.05, 0.01, 0.001, 0.0)
PATIENCE = 20_000


class Losing(Miner):
    """A miner whose records stand, but for those that it has lost."""

    lost: frozenset[int] = frozenset()

    def payload(self, location: int) -> bytes | None:
        return None if location in self.lost else self.store.body(location)


class Rate(NamedTuple):
    """So many of so many challenges found it."""

    found: int
    of: int

    @property
    def part(self) -> float:
        return self.found / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 %."""
        z, n, p = 1.96, self.of, self.part
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def measure(miner: Losing, lost: float, m: int, challenges: int, rng: random.Random) -> Rate:
    """Challenge it so often; give how often something was missing."""
    state = miner.commitment()
    locations = [state.records.leaf(rank)[2] for rank in range(len(state.records))]
    found = 0
    for number in range(challenges):
        if number % LOT == 0:
            miner.lost = frozenset(rng.sample(locations, round(lost * len(locations))))
        found += outcome(miner, m, rng) == Outcome.MISSING
    return Rate(found, challenges)


def outcome(miner: Losing, m: int, rng: random.Random) -> Outcome:
    """Give the verdict of one challenge."""
    now_ms = int(miner.now_ms)
    nonce = Nonce(rng.randbytes(32))
    challenger = Challenger(
        VALIDATOR, miner.store.key.public, commitment_of(miner.commitment()), nonce, now_unix_ms=now_ms, m=m
    )
    while (request := challenger.request) is not None:
        try:
            challenger.take(miner.answer(request), 1)
        except EngramError as error:
            challenger.fail(error, 1)
    miner.spend(100_000)
    assert challenger.judged is not None
    return challenger.judged.outcome


def measured(records: int, challenges: int, rng: random.Random) -> dict[tuple[float, int], Rate]:
    miner = Losing(1, [VALIDATOR.public], records)
    miner.prover = Prover(miner.store.key, miner, [VALIDATOR.public], limits=ProverLimits())
    assert outcome(miner, 256, rng) == Outcome.PASS
    print(f"\n{records:,} records, {challenges:,} challenges a row\n")
    print("| lost | m | found | of 95 % | 1 - (1 - f)^m | challenges until found |")
    print("|---:|---:|---:|---|---:|---:|")
    rates = {}
    for lost in LOST:
        for m in SAMPLES:
            rate = rates[lost, m] = measure(miner, lost, m, challenges, rng)
            low, high = rate.interval
            expected = detection(lost, m)
            flag = "" if low - 1e-9 <= expected <= high + 1e-9 else " (outside)"
            until = f"{1 / rate.part:.1f}" if rate.found else "-"
            print(
                f"| {lost:.1%} | {m} | {rate.part:.2%} | {low:.2%} to {high:.2%}{flag} | {expected:.2%} | {until} |",
                flush=True,
            )
    return rates


# -- the ratio test ---------------------------------------------------------------------------------------------------


class Ended(NamedTuple):
    """How tests of one kind of miner ended: how many by which decision, and the mean challenges until then."""

    loses: int
    keeps: int
    open: int
    challenges: float


def run_tests(test: RatioTest, lost: float, m: int, tests: int, rng: random.Random) -> Ended:
    shown, missing, miss = test.shown(m), test.missing(m), detection(lost, m)
    ends = {"loses": 0, "keeps": 0, None: 0}
    challenges = 0
    for _ in range(tests):
        ratio, decision = 0.0, None
        for _ in range(PATIENCE):
            ratio += missing if rng.random() < miss else shown
            challenges += 1
            if (decision := test.decide(ratio)) is not None:
                break
        ends[decision] += 1
    return Ended(ends["loses"], ends["keeps"], ends[None], challenges / tests)


def wald(test: RatioTest, lost: float, m: int) -> float:
    """Give Wald's expected number of challenges: E[n] = (P(loses) ln A + P(keeps) ln B) / E[z]; of p0 and p1 alone."""
    miss = detection(lost, m)
    mean = miss * test.missing(m) + (1 - miss) * test.shown(m)
    loses = 1 - test.beta if lost >= test.p1 else test.alpha
    return (loses * test.loses_at + (1 - loses) * test.keeps_at) / mean


def judged(tests: int, honest: int, rng: random.Random) -> None:
    test = RatioTest()
    for m in SAMPLES:
        ended = run_tests(test, test.p0, m, honest, rng)
        print(f"\n{honest:,} tests of miners that lack {test.p0:.1%}, m {m}: {ended.loses} wrongly condemned", end="")
    print()
    print(f"\n{tests:,} tests a row: p0 {test.p0}, p1 {test.p1}, alpha {test.alpha}, beta {test.beta}\n")
    print("| lost | m | loses | keeps | neither | challenges | samples | Wald: challenges |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for lost in STANDINGS:
        for m in SAMPLES:
            ended = run_tests(test, lost, m, tests, rng)
            by_wald = f"{wald(test, lost, m):.1f}" if lost in (test.p0, test.p1) else "-"
            print(
                f"| {lost:.1%} | {m} | {ended.loses:,} | {ended.keeps:,} | {ended.open:,} | {ended.challenges:.1f} "
                f"| {ended.challenges * m:,.0f} | {by_wald} |",
                flush=True,
            )


# -- the picture -------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 430, 70, 60, 40, 60
COLOURS = {0.5: "#1b6ca8", 0.1: "#2a9d5c", 0.01: "#c77f0a", 0.001: "#b3382c"}
MOST_M = 1024


def x_of(m: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(m) / math.log2(MOST_M)


def y_of(part: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part)


def drawn(rates: dict[tuple[float, int], Rate], records: int) -> str:
    title = f"How often one challenge of m records finds a miner that has lost some (of {records:,})"
    key = "lines: 1 - (1 - f)^m; dots: measured, with 95 % intervals"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"',
        f'font-size="13"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        words(LEFT, 24, title, size=15),
        words(LEFT, 42, key, colour="#555", size=12),
        words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "m, records asked for", anchor="middle"),
    ]
    for part in (0, 0.25, 0.5, 0.75, 1):
        lines.append(line(LEFT, y_of(part), WIDTH - RIGHT, y_of(part), "#ddd"))
        lines.append(words(LEFT - 8, y_of(part) + 4, f"{part:.0%}", anchor="end"))
    lines += [words(x_of(m), HEIGHT - BOTTOM + 20, f"{m}", anchor="middle") for m in (1, 4, 16, 64, 256, 1024)]
    for lost, colour in COLOURS.items():
        lines += curve(lost, colour)
        for m in SAMPLES:
            rate = rates[lost, m]
            low, high = rate.interval
            lines.append(line(x_of(m), y_of(low), x_of(m), y_of(high), colour, 2))
            lines.append(f'<circle cx="{x_of(m):.1f}" cy="{y_of(rate.part):.1f}" r="4" fill="{colour}"/>')
    return "\n".join([*lines, "</svg>\n"])


def curve(lost: float, colour: str) -> list[str]:
    ms = [2 ** (step / 8) for step in range(8 * int(math.log2(MOST_M)) + 1)]
    points = " ".join(f"{x_of(m):.1f},{y_of(1 - (1 - lost) ** m):.1f}" for m in ms)
    named = next(m for m in ms if m == MOST_M or 1 - (1 - lost) ** m >= 0.4)
    return [
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        words(x_of(named) + 8, y_of(1 - (1 - lost) ** named) + 12, f"{lost:.1%} lost", colour=colour),
    ]


def words(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{text}</text>'


def line(x: float, y: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--challenges", type=int, default=600)
    parser.add_argument("--tests", type=int, default=20_000)
    parser.add_argument("--honest", type=int, default=1_000_000)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--seed", type=int, default=8)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rates = measured(options.records, options.challenges, rng)
    if options.svg:
        options.svg.write_text(drawn(rates, options.records))
    judged(options.tests, options.honest, rng)


if __name__ == "__main__":
    main()
