# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a benchmark is: one run of one program that yields figures, smaller is better."""
import dataclasses
import typing


@dataclasses.dataclass
class Figure:
    unit: str
    promise: float | None = None  # highest ratio test / reference that is acceptable
    limit: float | None = None  # highest value of the program under test that is acceptable, in `unit`


@dataclasses.dataclass
class Benchmark:
    name: str
    measure: typing.Callable[[str], dict[str, float]]  # program -> figure name -> value
    figures: dict[str, Figure]
    rounds: int | None = None  # measured rounds, when the default does not suit
    obstacle: typing.Callable[[], str | None] = lambda: None  # why it cannot be measured here
    # What to compare with where the reference program has nothing like it; gets the program under test.
    reference: typing.Callable[[str], dict[str, float]] | None = None
