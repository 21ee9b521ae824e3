"""What is installed, where it looks for its files, and that the three lists of dependencies agree."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import capacity_kit

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
REPORTS = ("schedule.yml", "schedule.schema.json", "result.schema.json")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The project's wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            ROOT,
        ],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """An environment of its own with the wheel in it, its dependencies lent by this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            site,
            wheel,
        ],
        check=True,
        capture_output=True,
    )
    lent = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    for entry in lent.iterdir():  # all but the editable install of the project itself
        if (
            not entry.name.startswith(("capacity_kit", "_editable_impl", "__"))
            and not (site / entry.name).exists()
        ):
            (site / entry.name).symlink_to(entry)
    (folder / "empty").mkdir()

    def run(*arguments):
        command = [folder / "venv" / "bin" / "python", *arguments]
        return subprocess.run(command, cwd=folder / "empty", capture_output=True, text=True, check=False)

    return run


def test_the_wheel_carries_the_sql_the_notebooks_and_the_theme(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for folder, source in (("sql", "sql"), ("notebooks", "notebooks"), ("theme", "reports/theme")):
        files = [
            path
            for path in (ROOT / source).rglob("*")
            if path.is_file() and ".ipynb_checkpoints" not in path.parts
        ]
        carried = {f"capacity_kit/_data/{folder}/{path.relative_to(ROOT / source)}" for path in files}
        assert carried <= set(names)
        assert carried
    assert {f"capacity_kit/_data/{name}" for name in REPORTS} <= set(names)
    assert "capacity_kit/py.typed" in names
    assert all(name.startswith("capacity_kit") for name in names)


def test_what_jupyter_saves_beside_the_notebooks_is_not_carried(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("capacity_kit", "sql", "notebooks", "reports/theme"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in REPORTS:
        shutil.copy(ROOT / "reports" / name, tmp_path / "reports")
    saved = tmp_path / "notebooks" / ".ipynb_checkpoints"
    saved.mkdir(exist_ok=True)
    (saved / "monthly_review-checkpoint.ipynb").write_text("{}")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, tmp_path]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    carried = {
        name.removeprefix("capacity_kit/_data/notebooks/")
        for name in zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
        if "/notebooks/" in name
    }
    assert carried == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_the_installed_package_finds_its_files_from_anywhere(installed):
    done = installed(
        "-c",
        "import capacity_kit.resources as r; print(*(r.path(n) for n in ('sql', 'notebooks', 'theme')), sep='\\n');"
        "from capacity_kit.vault import deploy; print(len(deploy.steps()))",
    )
    assert done.returncode == 0, done.stderr
    *folders, steps = done.stdout.split()
    assert all("site-packages/capacity_kit/_data/" in folder for folder in folders)
    assert int(steps) >= 2


def test_the_installed_command_works_from_an_empty_directory(installed, pg18):
    done = installed("-m", "capacity_kit", "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: capacity" in done.stdout
    pg18.run("DROP SCHEMA capacity_planning CASCADE; DROP SCHEMA capacity_ops CASCADE")
    for command in ("deploy", "capture", "status"):
        done = installed("-m", "capacity_kit", command, "--dsn", pg18.dsn)
        assert done.returncode == 0, done.stderr


def test_the_console_command_is_the_one_that_is_tested():
    assert PROJECT["scripts"] == {"capacity": "capacity_kit.cli:main"}


def test_the_version_is_said_once_in_effect():
    assert PROJECT["version"] == capacity_kit.__version__
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_conda_users_get_the_same_direct_dependencies():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    assert sorted(by_pip) == sorted([*PROJECT["dependencies"], "-e ."])
    (python,) = (entry for entry in environment if isinstance(entry, str) and entry.startswith("python="))
    assert PROJECT["requires-python"] == f">={python.removeprefix('python=')}"


def test_the_lock_holds_exact_versions_and_no_addresses():
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    assert len({canonicalize_name(line.partition("==")[0]) for line in LOCK}) == len(LOCK)


def test_the_lock_holds_all_that_the_project_needs_and_nothing_else():
    locked = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LOCK}
    needed = closure(Requirement("capacity-kit[dev]")) - {"capacity-kit", "pip", "setuptools"}
    assert needed - locked.keys() == set()
    assert {name for name in locked.keys() - needed if not name.startswith("typing")} == set()


def test_what_is_installed_is_what_is_locked():
    locked = {line.partition("==")[0]: line.partition("==")[2] for line in LOCK}
    assert {name: importlib.metadata.version(name) for name in locked} == locked


def test_the_lock_satisfies_the_project():
    locked = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LOCK}
    direct = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, direct):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_what_is_locked_suits_the_oldest_python_that_the_project_takes():
    """Debian's 3.11 is older than what some patch releases of others want."""
    (oldest,) = SpecifierSet(PROJECT["requires-python"])
    wants = {
        line: importlib.metadata.metadata(line.partition("==")[0]).get("Requires-Python") for line in LOCK
    }
    assert {
        line: want
        for line, want in wants.items()
        if not SpecifierSet(want or "").contains(f"{oldest.version}.0")
    } == {}


def closure(root):
    """The names of all distributions that a requirement needs here, its own among them."""
    seen, names, waiting = set(), set(), [root]
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        names.add(key[0])
        for text in importlib.metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            extras = ["", *requirement.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return names
