"""What a measurement was taken on."""

from datetime import UTC, datetime

from coordsvc.bench.machine import cpu_model, facts

CPUINFO = """processor	: 0
vendor_id	: AuthenticAMD
model name	: AMD EPYC 7R13: Processor
cache size	: 512 KB
"""


def test_the_processor_is_named_as_the_kernel_names_it() -> None:
    assert cpu_model(CPUINFO) == "AMD EPYC 7R13: Processor"


def test_a_machine_without_that_line_has_no_name() -> None:
    assert cpu_model("processor: 0\n") == ""


def test_the_day_is_the_one_that_was_given_and_a_missing_package_is_told() -> None:
    told = facts(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), ("coordsvc-is-not-on-pypi",))
    assert told["date"] == "2026-01-02T03:04:05+00:00"
    assert told["versions"] == {"coordsvc-is-not-on-pypi": "not installed"}
    cores = told["cores"]
    assert isinstance(cores, int)
    assert cores >= 1
