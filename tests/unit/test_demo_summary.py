"""The demo's summary table."""

from __future__ import annotations

import pytest

from lab.demo.summary import Sample, Window, column, rows
from lab.process import Json


def second(t: int, *, requests: int = 40, errors: int = 0, p95: float | None = 50.0, rate: float = 40.0) -> Json:
    return {"t": t, "rate": rate, "requests": requests, "errors": errors, "p50": 40.0, "p95": p95}


def test_only_whole_seconds_of_the_window_count() -> None:
    seconds = [second(t, requests=t) for t in range(100, 110)]
    found = column(Window("before", 102.5, 106.0), seconds, [])
    assert found.seconds == 3  # 103, 104, 105
    assert found.served == pytest.approx(104)


def test_errors_are_a_share_of_all_requests_and_not_served() -> None:
    found = column(Window("w", 100, 102), [second(100, requests=90, errors=0), second(101, requests=110, errors=50)], [])
    assert found.errors_percent == pytest.approx(25.0)
    assert found.served == pytest.approx(75.0)


def test_percentiles_are_the_median_second_and_the_worst_one() -> None:
    seconds = [second(100 + n, p95=value) for n, value in enumerate([10.0, 900.0, 20.0, None])]
    found = column(Window("w", 100, 104), seconds, [])
    assert (found.p95, found.worst_p95) == (20.0, 900.0)


def test_cpu_is_the_mean_of_the_samples_that_have_the_vm() -> None:
    samples = [Sample(100, {"a": 0.2}, 1), Sample(101, {"a": 0.4, "b": 0.8}, 2), Sample(102, {"a": 0.9, "b": 0.1}, 2)]
    found = column(Window("w", 100, 102), [], samples)
    assert found.cpu == pytest.approx({"a": 0.3, "b": 0.8})


def test_an_empty_window_is_told_as_such() -> None:
    found = column(Window("w", 5, 6), [], [])
    assert (found.seconds, found.p50, found.in_service) == (0, None, 0)
    assert ("p50", "-") in rows([found])


def test_rows_have_a_cell_for_each_vm_in_each_column() -> None:
    before = column(Window("before", 100, 101), [second(100)], [Sample(100, {"a": 0.4}, 1)])
    after = column(Window("after", 200, 201), [second(200)], [Sample(200, {"a": 0.2, "new": 0.3}, 2)])
    table = rows([before, after])
    assert table[0] == ("", "before", "after")
    assert ("CPU a", "40 %", "20 %") in table
    assert ("CPU new", "-", "30 %") in table
    assert table[-1] == ("VMs in service", "1", "2")
    assert {len(row) for row in table} == {3}
