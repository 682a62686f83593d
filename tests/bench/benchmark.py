# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a benchmark is: one figure of one program, smaller is better."""
import dataclasses
import typing


@dataclasses.dataclass
class Benchmark:
    name: str
    unit: str
    measure: typing.Callable[[str], float]  # program -> figure
    promise: float | None = None  # highest ratio test / reference that is acceptable
    rounds: int | None = None  # measured rounds, when the default does not suit
