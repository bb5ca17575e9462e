import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import distributions

import psutil
import pytest

from launch import install
from launch.install import GIB, InstallError, VirtualEnv, check_disk, is_whole, stamp_file

TINY = VirtualEnv("app", "app", GIB, "import sys")


@pytest.mark.parametrize("content", [None, b"of another lock", b"\xff\xfe", b""])
def test_an_environment_without_its_own_stamp_is_not_trusted(tmp_path, content):
    stamp_file(TINY, tmp_path).parent.mkdir(parents=True)
    stamp_file(TINY, tmp_path).write_text(install.digest(TINY))
    assert is_whole(TINY, tmp_path)
    stamp_file(TINY, tmp_path).unlink()
    if content is not None:
        stamp_file(TINY, tmp_path).write_bytes(content)
    assert not is_whole(TINY, tmp_path)


@pytest.mark.parametrize("names", [["app"], ["app", "app"], ["app", "dev", "app"]])
def test_an_environment_that_is_named_twice_is_made_once(tmp_path, monkeypatch, names):
    made = []
    monkeypatch.setenv("ARENA_HOME", str(tmp_path))
    monkeypatch.setattr(install, "install", lambda environment, _: made.append(environment.name))
    assert install.main(names) == 0
    assert made == list(dict.fromkeys(names))


def test_an_overlay_is_made_again_when_the_environment_below_it_was(tmp_path, monkeypatch):
    made = []

    def making(environment, home):
        made.append(environment.name)
        if not environment.overlay:
            shutil.rmtree(stamp_file(environment, home).parent)
        stamp_file(environment, home).parent.mkdir(exist_ok=True)
        stamp_file(environment, home).write_text(install.digest(environment))

    dev = stamp_file(install.ENVIRONMENTS["dev"], tmp_path)
    dev.parent.mkdir(parents=True)
    dev.write_text(install.digest(install.ENVIRONMENTS["dev"]))
    monkeypatch.setenv("ARENA_HOME", str(tmp_path))
    monkeypatch.setattr(install, "install", making)
    assert install.main(["app", "dev"]) == 0
    assert made == ["app", "dev"]


def test_what_an_interrupted_install_left_is_built_anew(tmp_path, monkeypatch):
    half = tmp_path / "env" / "half-a-package.py"
    half.parent.mkdir()
    half.touch()
    made = []
    monkeypatch.setattr(install, "run", lambda command, _: made.append((command[1:], half.exists())))
    install.make_venv(tmp_path / "env")
    assert made == [(["-m", "venv", str(tmp_path / "env")], False)]


def test_a_disk_with_less_room_than_the_install_needs_is_refused_first(tmp_path):
    with pytest.raises(InstallError, match=r"has 0\.5 GiB free and the install needs 1\.0.*ARENA_HOME"):
        check_disk([TINY], tmp_path, free=GIB // 2)


@pytest.mark.parametrize("line", ["'ERROR: No such package\\n'", "b'ERROR: No such package \\xff\\n'"])
def test_a_failed_command_is_reported_with_its_own_last_error(line):
    """Which need not be UTF-8."""
    write = f"{'sys.stdout.buffer' if line.startswith('b') else 'sys.stdout'}.write({line})"
    program = f"import sys; {write}; sys.stdout.flush(); print('bye'); sys.exit(1)"
    with pytest.raises(InstallError, match="pip failed: ERROR: No such package"):
        install.run([sys.executable, "-c", program], "pip failed")


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("Collecting cuda-python==13.4.4 (from -r requirements/engines.txt (line 3))", "cuda-python"),
        ("Processing /wheels/torch-2.13.0+cpu-cp311-cp311-linux.whl (from -r x)", "torch-2.13.0"),
        ("Requirement already satisfied: torch==2.13.0+cpu in /env", "torch"),
    ],
)
def test_progress_counts_packages_wherever_pip_takes_them_from(line, package):
    assert install.PACKAGE.match(line)[1] == package


PARENT = "import subprocess; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"


@pytest.mark.slow
def test_an_interrupt_ends_pip_and_all_that_pip_has_started():
    grandchildren = []

    def interrupt(line):
        grandchildren.append(psutil.Process(int(line)))
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        install.run([sys.executable, "-c", PARENT], "pip failed", interrupt)
    _, alive = psutil.wait_procs(grandchildren, timeout=10)
    assert (len(grandchildren), alive) == (1, [])


def test_it_runs_on_a_bare_python():
    code = "import sys; sys.path.insert(0, '.'); import launch.install"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=install.ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", install.ENVIRONMENTS)
def test_every_package_of_a_lock_is_pinned_and_no_lock_names_a_place(name):
    text = install.ENVIRONMENTS[name].lock.read_text()
    wanted = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert all("==" in line for line in wanted)
    assert "://" not in text
    assert "index" not in re.sub(r"(?m)^#.*$", "", text)


def an_environment(folder, *, imports):
    """Whose Python imports everything, or nothing."""
    site, python = folder / "lib" / "python3.11" / "site-packages", folder / "bin" / "python"
    site.mkdir(parents=True)
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\nexit {int(not imports)}\n")
    python.chmod(0o755)
    return site


@pytest.mark.parametrize("imports", [False, True])
def test_a_torchaudio_that_does_not_import_is_left_its_python_half(imports, tmp_path):
    package = an_environment(tmp_path, imports=imports) / "torchaudio"
    (package / "lib").mkdir(parents=True)
    operators, python = package / "lib" / "_torchaudio.abi3.so", package / "__init__.py"
    for file in (operators, python):
        file.touch()
    install.lighten_torchaudio(tmp_path)
    assert (operators.exists(), python.exists()) == (imports, True)


@pytest.mark.parametrize(("imports", "named"), [(False, True), (True, False)])
def test_a_torchvision_that_does_not_import_gets_its_operators_named_by_torch(imports, named, tmp_path):
    site = an_environment(tmp_path, imports=imports)
    install.complete_torchvision(tmp_path)
    found = list(distributions(path=[str(site)]))
    assert bool(found) is named
    for distribution in found:
        (point,) = distribution.entry_points
        assert (point.group, point.value) == ("torch.backends", "torchvision_schemas:define")
        compile((site / "torchvision_schemas.py").read_text(), "schemas", "exec")
