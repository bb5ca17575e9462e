import pytest

from containers.sight import check
from engines.errors import ConfigError


@pytest.mark.parametrize(
    "words", [[], ["-c", "audio"], ["--image", "a.png", "--image=b/c.png"], ["--audio", "data:audio/wav;base64,AA=="]]
)
def test_what_lies_in_the_folder_is_seen(tmp_path, words):
    check(words, tmp_path)
    check(["--image", str(tmp_path / "a.png")], tmp_path)


def test_a_file_elsewhere_is_told_with_what_to_do(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "a.png")
    for words in (["--image", "../a.png"], [f"--video={tmp_path}/a.mp4"], ["--image", "link.png"], ["--context", "/a"]):
        with pytest.raises(ConfigError, match=r"is outside .*: go to its folder, or copy it here"):
            check(words, tmp_path / "here")


def test_an_address_is_told_unless_its_host_is_inside(tmp_path):
    with pytest.raises(ConfigError, match="out of a container's reach: download it, and give the file"):
        check(["--audio", "https://out.test/a.wav"], tmp_path, {"in.test"})
    check(["--audio", "http://In.test/a.wav"], tmp_path, {"in.test"})
