"""The command line as a user meets it: up, status, chat, down, on a Ray of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI

pytestmark = [pytest.mark.ray, pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
COORDSVC = [sys.executable, "-m", "coordsvc.cli"]
LOCAL = ROOT / "deployments" / "local.yaml"


def run(environment: dict[str, str], *words: str, said: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COORDSVC, *words],
        env=environment,
        input=said,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "COORDSVC_STATE_DIR": str(tmp_path_factory.mktemp("runs"))}


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decisions")


@pytest.fixture(scope="module")
def serving(
    environment: dict[str, str], decisions: Path
) -> Iterator[tuple[subprocess.Popen, dict[str, Any]]]:
    """`coordsvc up` in a process of its own, on ports that it finds itself, keeping a log."""
    config = yaml.safe_load(LOCAL.read_text())
    config["applications"][0]["args"]["decision_log"] = {"folder": str(decisions / "log")}
    logged = decisions / "logged.yaml"
    logged.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [*COORDSVC, "up", str(logged), "--port", "0", "--metrics-port", "0", "--demo", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        ready = json.loads(process.stdout.readline())
        demo = json.loads(process.stdout.readline())
        yield process, {**ready, **demo}
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


def test_the_demo_is_a_real_reply_with_its_account(serving: tuple[Any, dict[str, Any]]) -> None:
    demo = serving[1]["demo"]
    assert demo["choices"][0]["message"]["content"].strip()
    account = demo["coordsvc"]["account"]
    assert [phase["phase"] for phase in account["phases"]][:3] == ["plan", "respond", "check"]
    assert account["c_coord_s"] < account["wall_s"]
    assert demo["coordsvc"]["emulated"] is False


def test_chat_answers_and_tells_where_the_time_went(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str]
) -> None:
    talked = run(environment, "chat", "--max-tokens", "16", said="Hello\nAnd you?\n\n")
    assert talked.returncode == 0, talked.stderr
    assert talked.stdout.count("C_coord") == 2


def test_the_readmes_program_talks_to_it(serving: tuple[Any, dict[str, Any]]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "http://127.0.0.1:8000" in program
    program = program.replace("http://127.0.0.1:8000", serving[1]["url"])
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "c_coord_s" in ran.stdout


def test_status_tells_what_runs(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str]
) -> None:
    told = run(environment, "status", "--json")
    assert told.returncode == 0, told.stderr
    status = json.loads(told.stdout)
    assert status["ready"] is True
    assert status["model"] == "SmolLM2-135M-Instruct"
    assert status["metrics"]["coordsvc_nodes"] == 1


def test_the_policy_is_changed_while_turns_run_and_none_is_lost(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str]
) -> None:
    with OpenAI(base_url=f"{serving[1]['direct_url']}/v1", api_key="none") as client:
        over, replies = threading.Event(), list[str]()

        def talk() -> None:
            while not over.is_set():
                reply = client.chat.completions.create(
                    model="SmolLM2-135M-Instruct",
                    messages=[{"role": "user", "content": "Hello"}],
                    max_tokens=8,
                )
                replies.append(reply.choices[0].message.content or "")

        with ThreadPoolExecutor() as talkers:
            talks = [talkers.submit(talk) for _ in range(3)]
            for policy in ("oldest_first", "utility", "fair_share"):
                changed = run(environment, "pool", "policy", policy)
                assert changed.returncode == 0, changed.stderr
                shown = run(environment, "pool", "show", "--json")
                assert json.loads(shown.stdout)["policy"] == policy
            over.set()
            for one in talks:
                one.result(60)  # raises what went wrong
    assert all(replies)
    refused = run(environment, "pool", "policy", "whim")
    assert refused.returncode == 2
    assert "there is no policy 'whim'; there are fair_share, " in refused.stderr


def test_a_node_is_drained_and_offered_again(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str]
) -> None:
    (node,) = json.loads(run(environment, "pool", "show", "--json").stdout)["nodes"]
    drained = run(environment, "pool", "drain", node, "--within", "1")
    assert drained.returncode == 0, drained.stderr
    shown = json.loads(run(environment, "pool", "show", "--json").stdout)
    assert shown["draining"] == [node]
    assert shown["nodes"][node]["free"] == shown["nodes"][node]["capacity"]
    assert run(environment, "pool", "reopen", node).returncode == 0
    talked = run(environment, "chat", "--max-tokens", "8", said="Hello\n\n")
    assert talked.returncode == 0, talked.stderr


def test_explain_says_why_a_phase_waits_and_what_would_change_it(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str]
) -> None:
    told = run(environment, "explain", "--agent", "planner", "--json")
    assert told.returncode == 0, told.stderr
    assert [desk["waits"] for desk in json.loads(told.stdout)["desks"]] == [False]
    (node,) = json.loads(run(environment, "pool", "show", "--json").stdout)["nodes"]
    assert run(environment, "pool", "drain", node, "--within", "1").returncode == 0
    talk = threading.Thread(
        target=run, args=(environment, "chat", "--max-tokens", "8"), kwargs={"said": "Hello\n\n"}
    )
    talk.start()
    try:
        desk: dict[str, Any] = {}
        for _ in range(20):
            why = run(environment, "explain", "--agent", "planner", "--json")
            (desk,) = json.loads(why.stdout)["desks"]
            if desk["waits"]:
                break
        assert desk["waits"] is True
        assert desk["nodes"]["draining"] == [node]
        shown = run(environment, "explain", "--agent", "planner")
        assert "drain" in shown.stdout
    finally:
        assert run(environment, "pool", "reopen", node).returncode == 0
        talk.join(60)
    nobody = run(environment, "explain", "--agent", "nobody")
    assert nobody.returncode == 2
    assert "nobody" in nobody.stderr


def test_the_decision_log_replays_to_the_same_effects(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str], decisions: Path
) -> None:
    same = run(environment, "replay", str(decisions / "log"), "--json")
    assert same.returncode == 0, same.stdout + same.stderr
    assert json.loads(same.stdout)["same"] is True
    assert json.loads(same.stdout)["events"] > 50, "the dialogues before this one are in it"
    other = run(environment, "replay", str(decisions / "log"), "--policy", "round_robin", "--json")
    assert other.returncode == 0, other.stderr


def test_a_port_that_is_taken_is_named(
    serving: tuple[Any, dict[str, Any]], environment: dict[str, str]
) -> None:
    taken = serving[1]["url"].rpartition(":")[2]
    refused = run(environment, "up", str(LOCAL), "--port", taken)
    assert refused.returncode == 2
    assert f"{taken} cannot be used" in refused.stderr


def test_down_stops_it_cleanly(
    serving: tuple[subprocess.Popen, dict[str, Any]], environment: dict[str, str]
) -> None:
    process, _ = serving
    stopped = run(environment, "down")
    assert stopped.returncode == 0, stopped.stderr
    assert process.wait(60) == 0
    assert run(environment, "status").returncode == 2


def test_wrong_settings_are_refused_with_path_value_and_remedy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(LOCAL.read_text().replace("batch_max: 16", "batch_max: none"))
    refused = run(environment, "up", str(wrong))
    assert refused.returncode == 2
    assert "applications[0].args.engine.batch_max: 'none' is not right" in refused.stderr
