"""What an operator asks over HTTP: carried out, or refused with the reason."""

import json
from typing import Any

import pytest

from coordsvc.core.errors import CoordinationError
from coordsvc.serving.admin import Admin, Asked
from coordsvc.serving.http.errors import Problem, Rejection
from tests.unit.serving.operations import FakeOperations


@pytest.fixture
def pool() -> FakeOperations:
    return FakeOperations()


def ask(pool: FakeOperations, method: str, path: str, body: object = None, query: str = "") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = Asked(method=method, path=f"/admin/{path}", query=query, body=lambda: raw)
    return Admin(pool.reach).answer(asked)


def refusal(*args: Any, **more: Any) -> Problem:
    with pytest.raises(Rejection) as caught:
        ask(*args, **more)
    return caught.value.problem


def test_the_pool_is_shown(pool: FakeOperations) -> None:
    assert ask(pool, "GET", "pool") == pool.status()


def test_another_policy_is_chosen(pool: FakeOperations) -> None:
    assert ask(pool, "GET", "policy")["name"] == "fair_share"
    assert "oldest_first" in ask(pool, "GET", "policy")["known"]
    told = ask(pool, "PUT", "policy", {"name": "oldest_first"})
    assert told == {"name": "oldest_first", "before": "fair_share"}
    assert ask(pool, "GET", "policy")["name"] == "oldest_first"
    problem = refusal(pool, "PUT", "policy", {"name": "whim"})
    assert (problem.status, problem.message) == (400, "there is no policy 'whim'")


def test_a_node_is_drained_and_offered_again(pool: FakeOperations) -> None:
    assert ask(pool, "POST", "drain", {"node": "node-0"}) == {"draining": "node-0"}
    told = {"node": "node-1", "within_s": 5, "preempt": True}
    ask(pool, "POST", "drain", told)
    assert pool.told == [("drain", "node-0", 30.0, False), ("drain", "node-1", 5.0, True)]
    assert ask(pool, "POST", "reopen", {"node": "node-0"}) == {"reopened": "node-0"}
    assert refusal(pool, "POST", "reopen", {"node": "node-0"}).status == 400


def test_why_something_waits_is_explained(pool: FakeOperations) -> None:
    told = ask(pool, "GET", "explain", query="agent=planner")
    assert told == {"about": "agent planner"}
    assert ask(pool, "GET", "explain", query="desk=a%2Fb") == {"about": "desk a/b"}
    assert refusal(pool, "GET", "explain", query="turn=nobody").message == "there is no turn nobody"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "agent=",
        "agent",
        "whim=1",
        "agent=a&desk=b",
        "agent=a&agent=b",
        "agent=" + "x" * 301,
        "&".join("a=b" for _ in range(100)),
    ],
)
def test_an_unclear_question_is_refused(pool: FakeOperations, query: str) -> None:
    problem = refusal(pool, "GET", "explain", query=query)
    assert (problem.status, problem.message[:33]) == (400, "name one of agent, desk and turn:")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("drain", b"", None),
        ("drain", b"{", None),
        ("drain", b"[" * 5_000, None),
        ("drain", b'{"node": "\xff"}', None),
        ("drain", [], None),
        ("drain", {}, "node"),
        ("drain", {"node": ""}, "node"),
        ("drain", {"node": "x" * 301}, "node"),
        ("drain", {"node": "a", "within_s": -1}, "within_s"),
        ("drain", {"node": "a", "within_s": 1e9}, "within_s"),
        ("drain", {"node": "a", "within_s": "5"}, "within_s"),
        ("drain", b'{"node": "a", "within_s": NaN}', "within_s"),
        ("drain", {"node": "a", "preempt": 1}, "preempt"),
        ("drain", {"node": "a", "whim": 1}, "whim"),
        ("reopen", {"node": None}, "node"),
    ],
)
def test_a_wrong_body_is_refused_by_field(
    pool: FakeOperations, path: str, body: object, param: str | None
) -> None:
    problem = refusal(pool, "POST", path, body)
    assert (problem.status, problem.param) == (400, param)
    assert pool.told == []


def test_unknown_routes_and_methods_are_told_what_there_is(pool: FakeOperations) -> None:
    problem = refusal(pool, "GET", "whim")
    assert problem.status == 404
    assert "/admin/pool" in problem.message
    for method, path in (("POST", "pool"), ("DELETE", "policy"), ("GET", "drain")):
        assert refusal(pool, method, path).status == 405
    assert dict(refusal(pool, "DELETE", "policy").headers)[b"allow"] == b"GET, PUT"


def test_without_an_allocator_it_is_said_when_to_come_back(pool: FakeOperations) -> None:
    pool.trouble = CoordinationError("the allocator does not answer")
    problem = refusal(pool, "GET", "pool")
    assert (problem.status, problem.code) == (503, "allocator_unavailable")
    assert dict(problem.headers)[b"retry-after"] == b"2"
    assert refusal(pool, "PUT", "policy", {}).status == 400, "what is wrong is wrong without it"
