from pathlib import Path

import pytest
from launch.container_paths import check_paths

from config.errors import ConfigError


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": ("a.png", "b/c.png")},
        {"audio": ["data:audio/wav;base64,AA=="], "context": None},
        {"context": Path("a.txt"), "prompt": "/etc/passwd", "json_file": "-"},
    ],
)
def test_what_lies_in_the_folder_is_seen(tmp_path, values):
    check_paths(values, tmp_path)
    check_paths({"image": [str(tmp_path / "a.png")]}, tmp_path)


@pytest.mark.parametrize("option", ["image", "video", "audio", "context", "result_dir", "json_file"])
def test_a_file_elsewhere_is_told_with_what_to_do(tmp_path, option):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "here" / "ring").symlink_to("ring")
    for named in ("../a.png", f"{tmp_path}/a.mp4", "link.png", "/a", "ring", "a" * 5000 + "/../../b"):
        with pytest.raises(ConfigError, match=r"is outside .*: go to its folder, or copy it here"):
            check_paths({option: [named]}, tmp_path / "here")


def test_an_address_is_told_unless_its_host_is_inside(tmp_path):
    with pytest.raises(ConfigError, match="out of a container's reach: download it, and give the file"):
        check_paths({"audio": ["https://out.test/a.wav"]}, tmp_path, {"in.test"})
    with pytest.raises(ConfigError):
        check_paths({"audio": ["http://[::1/a.wav"]}, tmp_path, {"in.test"})
    check_paths({"audio": ["http://In.test/a.wav"]}, tmp_path, {"in.test"})
