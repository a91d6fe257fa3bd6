"""A run as a page, a folder of runs as an index and as Markdown."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

from coordsvc.core.errors import BadRequest, NodeGone
from coordsvc.experiments import report
from coordsvc.experiments.report import shown
from coordsvc.experiments.runner import run
from tests.unit.experiments.tiny import Drawn, Fails, Tiny, plan, tiny

ELSEWHERE = re.compile(r"""\w+://|(?:src|href)=["']?//|@import|url\(""")
"""What would have a browser ask another host."""
PICTURE = re.compile(r"data:image/png;base64,[\w+/=]+")


def made(place: Path, study: type[Tiny] = Tiny, **other: Any) -> str:
    """Run it, and return its page."""
    entry = tiny(study, **other)
    run(entry, plan(entry), place, lambda _: None)
    return (place / "report.html").read_text()


def broken_off(place: Path) -> str:
    with pytest.raises(NodeGone):
        made(place, Fails)
    return (place / "report.html").read_text()


def finding(value: float | None, **other: Any) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "unit": "", **other}


def test_a_report_says_what_was_asked_how_and_what_came_of_it(tmp_path: Path) -> None:
    page = made(tmp_path / "run", Drawn)
    wanted = (
        "Does a turn that nobody takes end within two seconds?",
        "<b>Hypothesis.</b> It does.",
        "<th>simulated</th><td>All of it.</td>",
        "<b>confirmed</b>. Turns take 0.534 [0.37, 0.692] s.",
        "<td>time of a turn</td><td>0.534 [0.37, 0.692] s</td><td>below 2.0 s</td>",
        '<td class="good">met</td>',
        "<figcaption>Each run&#39;s turns.</figcaption>",
        "<h3>All runs</h3>",
        "<th>seeds</th><td>1-3</td>",
        "<code>turns = 2</code>",
        '<code>loads = ["low", "high"]</code>',
        "coordsvc experiment tiny",
    )
    assert [said for said in wanted if said not in page] == []
    assert "partial:" not in page
    assert "<th>real</th>" not in page, "nothing is, so nothing is said"
    assert len(PICTURE.findall(page)) == 1


def test_a_report_needs_no_other_file_and_no_other_host(tmp_path: Path) -> None:
    page = PICTURE.sub("", made(tmp_path / "run", Drawn))
    assert ELSEWHERE.search(page) is None
    assert ELSEWHERE.search('<script src="//cdn/x.js">')
    assert ELSEWHERE.search("https://example.org")


def test_a_partial_report_says_so_and_why(tmp_path: Path) -> None:
    page = broken_off(tmp_path / "run")
    assert "(partial: 1 of 3 cells)" in page
    assert "It ended early: NodeGone: engine 3 has died" in page


def test_a_missed_and_an_open_figure_look_like_it(tmp_path: Path) -> None:
    made(tmp_path / "run")
    told = json.loads((tmp_path / "run" / "summary.json").read_text())
    told["findings"] = [
        {**told["findings"][0], "met": False},
        {**told["findings"][0], "met": None},
        {**told["findings"][0], "met": None, "wanted": None},
    ]
    (tmp_path / "run" / "summary.json").write_text(json.dumps(told))
    page = report.page(tiny(), tmp_path / "run")
    assert page.count('<td class="bad">missed</td>') == 1
    assert page.count('<td class="open">open</td>') == 1


def test_what_is_said_is_text_and_never_markup(tmp_path: Path) -> None:
    page = made(tmp_path / "run", question="Is <script>alert(1)</script> run?")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_code_in_a_study_s_text_looks_like_it_and_is_text_all_the_same(tmp_path: Path) -> None:
    page = made(tmp_path / "run", measured="It takes `largest` slots, `<b>` of them.")
    assert "It takes <code>largest</code> slots, <code>&lt;b&gt;</code> of them." in page


def test_what_a_resumed_run_went_on_with_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeGone):
        made(tmp_path / "run", Fails)
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    versions["date"] = "2020-02-02T00:00:00+00:00"
    (tmp_path / "run" / "versions.json").write_text(json.dumps(versions))
    run(tiny(), plan(), tmp_path / "run", lambda _: None, resume=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "2020-02-02T00:00:00+00:00" in page
    assert "gone on with" in page


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (finding(None, low=1.0, high=2.0), "-"),
        (finding(0.81234, unit="s"), "0.812 s"),
        (finding(0.81234, low=0.7, high=0.9, unit="s"), "0.812 [0.7, 0.9] s"),
        (finding(0.5, low=0.5, high=0.5), "0.5"),
        (finding(999.7, low=12.0, high=123_456.0), "1000 [12, 123456]"),
    ],
)
def test_a_finding_is_told_with_its_interval_where_it_has_one(told: dict, words: str) -> None:
    assert shown(told) == words


def test_an_index_leads_to_each_run(tmp_path: Path) -> None:
    made(tmp_path / "a")
    broken_off(tmp_path / "b")
    (tmp_path / "no-run").mkdir()
    page = report.index(tmp_path)
    assert page.index('href="a/report.html"') < page.index('href="b/report.html"')
    assert page.count("Tiny: how long no turn takes") == 2
    assert page.count("(partial)") == 1
    assert page.count('<td class="good">confirmed') == 2
    assert ELSEWHERE.search(page) is None


def test_an_index_names_each_machine_that_was_measured_on(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        made(tmp_path / name)
    path = tmp_path / "b" / "versions.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cores": 96, "cpu": "Abacus"}))
    here = json.loads((tmp_path / "a" / "versions.json").read_text())
    measured = f"Measured on {here['cores']} cores, {here['cpu']}; 96 cores, Abacus."
    assert measured in report.index(tmp_path)


def test_markdown_of_two_runs_says_verdict_figures_command_and_machine(tmp_path: Path) -> None:
    made(tmp_path / "a", seeds=(1, 2, 3, 9))
    broken_off(tmp_path / "b")
    text = report.markdown(tmp_path)
    first, second = text.split("\n## ")[1:]
    assert first.startswith("Tiny: how long no turn takes\n\nDoes a turn that nobody takes")
    assert "\n**confirmed**. Turns take " in first
    assert "\n**confirmed**, **partial**. Turns take " in second
    interval = r"0\.\d+ \[0\.\d+, 0\.\d+\] s"
    assert re.search(rf"\n\| time of a turn \| {interval} \| below 2\.0 s \| met \|", first)
    assert "`coordsvc experiment tiny --preset test`, seeds 1-3,9; 20" in first
    assert re.search(r"\d+ cores \(.*\)", first)
    assert "[the study](../studies/tiny.md)" in first
    assert text.endswith(".\n")


def test_markdown_keeps_its_tables_whatever_a_figure_is_called(tmp_path: Path) -> None:
    made(tmp_path / "a")
    told = json.loads((tmp_path / "a" / "summary.json").read_text())
    told["findings"] = [{**told["findings"][0], "says": "P(A|B)\nof turns"}]
    told["verdict"] = None
    (tmp_path / "a" / "summary.json").write_text(json.dumps(told))
    text = report.markdown(tmp_path)
    assert r"| P(A\|B) of turns | 0" in text
    assert "**nothing**" in text


def test_a_folder_without_runs_has_neither(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadRequest, match="holds no runs of studies"):
            report.index(folder)
        with pytest.raises(BadRequest, match="holds no runs of studies"):
            report.markdown(folder)


def test_a_run_that_was_tampered_with_is_told_by_its_folder(tmp_path: Path) -> None:
    made(tmp_path / "a")
    (tmp_path / "a" / "settings.json").write_text("{")
    with pytest.raises(BadRequest, match="a: is no run of a study"):
        report.index(tmp_path)
