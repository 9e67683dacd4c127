"""What the installation decides: what is damaged, which PyTorch, when there is nothing to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import packages
import progress
import pytest


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with two installed packages of two files and a script each."""
    site = tmp_path / "lib" / "site-packages"
    for name in ("one", "two"):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text("value = 1\n")
        (tmp_path / "lib" / name).write_text("#!/rewritten/by/the/installer\n")
        (info / "METADATA").write_text("")
        (info / "RECORD").write_text(
            f"{name}.py,sha256=x,10\n../{name},sha256=x,5\n__pycache__/{name}.pyc,,\n{info.name}/METADATA,,\n"
        )
    return site


def _names(site: Path) -> set[str]:
    return {each.name for each in site.glob("*.dist-info")}


def test_whole_packages_are_kept(site: Path) -> None:
    packages.forget_damaged(site)
    assert _names(site) == {"one-1.0.dist-info", "two-1.0.dist-info"}


@pytest.mark.parametrize("damage", ["gone", "cut", "script", "record"])
def test_what_an_interruption_left_half_is_installed_again(site: Path, damage: str) -> None:
    """Fault 33: uv takes a package with metadata for whole."""
    match damage:
        case "gone":
            (site / "two.py").unlink()
        case "cut":
            (site / "two.py").write_text("val")
        case "script":
            (site.parent / "two").unlink()
        case "record":
            (site / "two-1.0.dist-info" / "RECORD").unlink()
    packages.forget_damaged(site)
    assert _names(site) == {"one-1.0.dist-info"}


def test_this_environment_is_whole(tmp_path: Path) -> None:
    """No package that the lock brings counts as damaged for a reason that is none."""
    import sysconfig

    real = Path(sysconfig.get_path("purelib"))
    damaged = {folder.name for folder in real.glob("*.dist-info") if not packages.is_whole(folder)}
    assert {name for name in damaged if not name.startswith("review_stars-")} == set()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run to install PyTorch on Linux, where none is installed. Only PyTorch's own index has it."""
    run: list[list[str]] = []

    def record(_step: progress.Step, command: tuple[object, ...], _env: object) -> bool:
        run.append([str(word) for word in command])
        return packages.TORCH_INDEX in run[-1]

    monkeypatch.setattr(progress, "LOG", tmp_path / "log")
    (tmp_path / "log").write_text("no version of torch")
    monkeypatch.setattr(progress.Step, "_succeeds", record)
    monkeypatch.setattr(packages, "installed", lambda _name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("STARS_TORCH", raising=False)
    monkeypatch.delenv("STARS_ALLOW_CUDA", raising=False)
    return run


INSTALLER = packages.Installer(["install"], {})


def test_the_cpu_build_of_pytorch(commands: list[list[str]]) -> None:
    packages.install_torch("2.0", INSTALLER)
    build = ["install", "--no-deps", "torch==2.0+cpu"]
    assert commands == [build, [*build, "--index-url", packages.TORCH_INDEX]]


def test_no_cuda_unasked(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "TORCH_INDEX", "https://elsewhere")
    monkeypatch.setattr(progress.Step, "_succeeds", lambda *_: False)
    with pytest.raises(progress.Failed):
        packages.install_torch("2.0", INSTALLER)
    said = capfd.readouterr().err
    assert "STARS_TORCH=" in said and "STARS_ALLOW_CUDA=1" in said and "https://elsewhere" in said


def test_a_wheel_or_cuda_by_name(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.Step, "_succeeds", lambda _step, command, _env: not commands.append(command))
    monkeypatch.setenv("STARS_ALLOW_CUDA", "1")
    packages.install_torch("2.0", INSTALLER)
    monkeypatch.setenv("STARS_TORCH", "/wheels/torch.whl")
    packages.install_torch("2.0", INSTALLER)
    assert commands == [("install", "torch==2.0"), ("install", "--no-deps", "/wheels/torch.whl")]


def test_nothing_to_do_is_found_out_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    filled: list[dict[str, str]] = []
    monkeypatch.setattr(packages, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(packages, "fill", lambda _lock, groups: filled.append(groups))
    for words, expected in ((["--serve"], 1), (["--serve"], 1), ([], 2), ([], 2), (["--serve"], 2)):
        monkeypatch.setattr(sys, "argv", ["packages.py", *words])
        assert packages.main() == 0
        assert len(filled) == expected
    assert filled == [packages.SERVING, packages.EVERYTHING]

    stamp = json.loads(packages.STAMP.read_text())
    packages.STAMP.write_text(json.dumps(dict.fromkeys(stamp, "another lock")))
    assert packages.main() == 0 and len(filled) == 3
    assert capfd.readouterr().err == ""


def test_what_failed_is_not_marked_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(sys, "argv", ["packages.py"])
    for error, code in ((progress.Failed(), 1), (KeyboardInterrupt(), 130)):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(packages, "fill", fail)
        assert packages.main() == code
        assert not packages.STAMP.exists()


def test_an_environment_of_another_python(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert packages.main() == 1
    assert capfd.readouterr().err == (
        "error: .venv holds Python 3.13, which this does not run on: `make clean` removes it\n"
    )
