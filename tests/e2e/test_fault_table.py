from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.fault_table import Head, fault_table


@dataclass(frozen=True)
class Row:
    name: str
    counts: tuple[int, ...]
    words: str = ""


HEAD = Head(name="fault", counts=("runs", "wrong"), words="errors", name_width=10, count_width=6)


def test_all_rows_are_printed_under_their_titles_with_the_sums_at_the_end():
    printed = ["before"]

    with fault_table(HEAD, printed) as rows:
        rows += [Row("reset", (3, 0), "RegistryError"), Row("hang", (2, 1))]

    assert printed == [
        "before",
        "",
        "fault       runs wrong  errors",
        "reset          3     0  RegistryError",
        "hang           2     1",
        "all: 2 faults     5     1",
    ]
