"""Which turns are traced, and what their spans are called by."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from coordsvc.core.trace import LOW_BITS, Sampling, TraceContext

TRACE_IDS = st.integers(min_value=1, max_value=(1 << 128) - 1)
SPAN_IDS = st.integers(min_value=1, max_value=LOW_BITS)


@given(TRACE_IDS, st.floats(min_value=0, max_value=1))
def test_without_a_parent_the_trace_id_decides_as_in_opentelemetry_s_own_sampler(
    trace_id: int, ratio: float
) -> None:
    theirs = TraceIdRatioBased(ratio).should_sample(None, trace_id, "turn").decision
    assert Sampling.of(ratio).takes(trace_id, None) is (theirs is Decision.RECORD_AND_SAMPLE)


def test_a_client_s_decision_stands() -> None:
    assert not Sampling.of(1.0).takes(1, parent=False)
    assert Sampling.of(0.0).takes(LOW_BITS, parent=True)


def test_unless_it_is_not_to_be_heeded() -> None:
    assert Sampling.of(1.0, heeds_parent=False).takes(1, parent=False)
    assert not Sampling.of(0.0, heeds_parent=False).takes(1, parent=True)


@given(TRACE_IDS, SPAN_IDS)
def test_inner_spans_have_ids_of_their_own_that_anybody_finds_again(
    trace_id: int, span_id: int
) -> None:
    context = TraceContext(trace_id, span_id)
    ids = [context.child(number) for number in range(20)]
    assert len({*ids, span_id}) == 21
    assert all(0 < one <= LOW_BITS for one in ids)
    assert ids == [TraceContext(trace_id, span_id, parent_id=7).child(n) for n in range(20)]


def test_two_turns_of_one_trace_share_no_span() -> None:
    one, other = TraceContext(5, 1), TraceContext(5, 2)
    assert not {one.child(n) for n in range(9)} & {other.child(n) for n in range(9)}
