"""Where traces go, and which: what the settings say, else what the environment does."""

import logging
from typing import Any

import pytest

from coordsvc.core.trace import Sampling
from coordsvc.settings import SettingsError, check
from coordsvc.settings.tracing import TracingSettings
from coordsvc.telemetry.trace_terms import TraceTerms

THERE = "http://collector:4318"
PARENT = {"trace_id": 1, "parent": True}


def terms(environ: dict[str, str] | None = None, **said: Any) -> TraceTerms | None:
    return check({"tracing": said}).tracing.terms(environ or {})


def traced(environ: dict[str, str] | None = None, **said: Any) -> TraceTerms:
    found = terms({"OTEL_EXPORTER_OTLP_ENDPOINT": THERE, **(environ or {})}, **said)
    assert found is not None
    return found


# Whether, and where


def test_without_an_endpoint_anywhere_nothing_is_traced() -> None:
    assert terms() is None
    assert terms({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}) is None
    assert terms({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, sample_ratio=1.0) is None


@pytest.mark.parametrize("base", [THERE, THERE + "/"])
def test_the_path_is_added_to_a_base_url(base: str) -> None:
    at = "http://collector:4318/v1/traces"
    assert traced({"OTEL_EXPORTER_OTLP_ENDPOINT": base}).endpoint == at
    said = terms(endpoint=base)
    assert said is not None
    assert said.endpoint == at


def test_the_settings_win_then_what_is_said_of_traces_alone() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces/at/exactly/here",
    }
    assert traced(environ).endpoint == "https://traces/at/exactly/here"
    assert traced(environ, endpoint=THERE).endpoint == f"{THERE}/v1/traces"


def test_the_environment_can_turn_traces_off() -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": THERE}
    assert terms({**there, "OTEL_TRACES_EXPORTER": "none"}) is None
    assert terms({**there, "OTEL_TRACES_EXPORTER": "console,otlp"}) is not None
    assert terms({**there, "OTEL_SDK_DISABLED": "TRUE"}) is None
    assert terms({"OTEL_SDK_DISABLED": "true"}, endpoint=THERE) is None


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "says grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "is no URL"),
    ],
)
def test_an_environment_that_cannot_be_served_is_told_so(
    environ: dict[str, str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert terms({"OTEL_EXPORTER_OTLP_ENDPOINT": THERE, **environ}) is None
    assert why in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("collector:4318", "the base URL of a collector is right"),
        ("ftp://collector", "the base URL of a collector is right"),
        ("http://", "the base URL of a collector is right"),
        ("http://me:sesame@collector", "leave secrets out of it"),
        ("http://collector/?key=1", "a base URL ends with its path"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_what_would_be_right(endpoint: str, why: str) -> None:
    with pytest.raises(SettingsError, match=r"args\.tracing\.endpoint: .*" + why):
        check({"tracing": {"endpoint": endpoint}})


@pytest.mark.parametrize("said", [{"sample_ratio": 1.5}, {"timeout_s": 0}, {"queue_spans_max": 1}])
def test_amounts_out_of_range_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=rf"args\.tracing\.{next(iter(said))}"):
        check({"tracing": said})


# Which turns


def test_one_turn_in_ten_is_traced_unless_its_client_decides() -> None:
    sampling = traced().sampling
    assert sampling == Sampling.of(0.1)
    assert sampling.takes(**PARENT)


@pytest.mark.parametrize(
    ("sampler", "sampling"),
    [
        ("always_on", Sampling.of(1.0, heeds_parent=False)),
        ("always_off", Sampling.of(0.0, heeds_parent=False)),
        ("traceidratio", Sampling.of(0.25, heeds_parent=False)),
        ("parentbased_always_on", Sampling.of(1.0)),
        ("parentbased_always_off", Sampling.of(0.0)),
        ("parentbased_traceidratio", Sampling.of(0.25)),
    ],
)
def test_the_environment_s_sampler_is_meant_as_elsewhere(sampler: str, sampling: Sampling) -> None:
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0.25"}
    assert traced(environ).sampling == sampling
    assert traced(environ, sample_ratio=0.5).sampling == Sampling.of(0.5)


def test_an_argument_alone_is_a_share_of_turns() -> None:
    assert traced({"OTEL_TRACES_SAMPLER_ARG": "0.5"}).sampling == Sampling.of(0.5)


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER_ARG": "often"},
        {"OTEL_TRACES_SAMPLER_ARG": "nan"},
        {"OTEL_TRACES_SAMPLER_ARG": "-1"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_SCHEDULE_DELAY": "inf"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "10000"},
    ],
)
def test_what_cannot_be_read_is_warned_of_and_ignored(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert traced(environ) == traced()
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert next(iter(environ)) in warning.getMessage()


# The rest


def test_numbers_come_from_the_settings_else_from_the_environment() -> None:
    environ = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "7",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "5",
    }
    found = traced(environ)
    assert (found.queue_spans_max, found.delay_s, found.timeout_s) == (100, 0.2, 5.0)
    found = traced(environ, queue_spans_max=64, timeout_s=1.5, service_name="ours")
    assert (found.queue_spans_max, found.timeout_s, found.service_name) == (64, 1.5, "ours")


def test_text_is_repeated_only_if_it_is_asked_for() -> None:
    assert traced().text_chars_max == 0
    assert traced(text_chars_max=99).text_chars_max == 0
    assert traced(text=True, text_chars_max=99).text_chars_max == 99


def test_facts_about_the_service_are_passed_on() -> None:
    facts = {"service.instance.id": "r1"}
    found = TracingSettings(endpoint=THERE).terms({}, facts)
    assert found is not None
    assert found.attributes == facts
