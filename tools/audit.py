"""Asks a database of known faults about every package that the images install: `make audit`.

Exits 0 if nothing is known against them, 1 if something is, 2 if pip-audit itself fails. Where the
database cannot be reached, nothing has been audited: that is said, and is no failure, so that
whoever has no network can test all the rest; with --insist it exits 3.

Other arguments are pip-audit's own: --ignore-vuln ID, --osv-url URL of a mirror.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parents[1] / "docker/locks"
INSIST = "--insist"
TIMEOUT_S = 10
"""For one answer; one is asked for each package."""
UNREACHED = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Connection timed out", "503 ")
"""What pip-audit's own words have in them when its database is away."""
ALL_WELL, FAULTS, FAILED, NOT_REACHED = range(4)


def verdict(report: str, errors: str) -> tuple[int, str]:
    """Return the exit code, and what to say, for what pip-audit wrote."""
    if not report.strip():
        if any(word in errors for word in UNREACHED):
            return NOT_REACHED, "NOT DONE: the database of known faults cannot be reached from here"
        return FAILED, f"pip-audit failed:\n{errors[-2_000:]}"
    packages = json.loads(report)["dependencies"]
    lines = [line for one in packages for line in _faults(one)]
    passed_over = [one for one in packages if "skip_reason" in one]
    lines += [f"{one['name']}: not audited: {one['skip_reason']}" for one in passed_over]
    if any("vulns" in one and one["vulns"] for one in packages):
        return FAULTS, "\n".join(["known faults:", *lines])
    asked = len(packages) - len(passed_over)
    return ALL_WELL, "\n".join([f"nothing is known against {asked} packages", *lines])


def _faults(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']}: {fault['id']}, "
        f"mended in {', '.join(fault['fix_versions']) or 'no release yet'}"
        for fault in package.get("vulns", ())
    ]


def ask(lock: Path, more: list[str]) -> tuple[int, str]:
    """Have pip-audit ask about a file of locked packages; `more` are arguments of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv"]
        command += ["--disable-pip", "--no-deps", "--progress-spinner", "off"]
        command += ["--timeout", str(TIMEOUT_S), "--format", "json", "--output", str(report)]
        ran = subprocess.run(  # noqa: S603 - our own command
            [*command, "--requirement", str(lock), *more],
            capture_output=True,
            text=True,
            check=False,
        )
        return verdict(report.read_text() if report.exists() else "", ran.stderr)


def main() -> int:
    """Ask, and say what came of it."""
    more = [one for one in sys.argv[1:] if one != INSIST]
    worst = ALL_WELL
    for lock in sorted(LOCKS.glob("*.txt")):
        code, says = ask(lock, more)
        print(f"audit of {lock.name}: {says}")
        worst = worst or code
        if code == NOT_REACHED:
            break  # nor will it be for the next one
    return ALL_WELL if worst == NOT_REACHED and INSIST not in sys.argv else worst


if __name__ == "__main__":
    sys.exit(main())
