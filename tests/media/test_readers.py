"""The same bytes to our check and to vLLM's own readers, in the engines' environment: they agree on each file.

vLLM's readers are those that its server uses for image_url, video_url, audio_url and input_audio; no engine runs.
"""

import json
import subprocess

import pytest
from media_files import FILES

from config.errors import MediaError
from config.paths import ROOT
from config.settings import Settings
from media import Media, Modality
from media.limits import Limits
from media.load import MediaFile, encode_media

ENGINES = ROOT / ".arena" / "env" / "engines" / "bin" / "python"
LIMITS = Limits.of(Settings.from_env({}))
BEGIN, END = "<!-- the table: tests/media/test_readers.py -->\n", "<!-- end of the table -->\n"
SAME_S = 0.2  # frames of a lossy codec at a sound's ends

pytestmark = [
    pytest.mark.live,  # no engine runs, but their environment takes its time to load
    pytest.mark.skipif(not ENGINES.exists(), reason="the engines' environment is not there: ./arena install makes it"),
    pytest.mark.xdist_group("media-readers"),
]


def taken(name, content):
    """What would be sent of it, or why nothing."""
    try:
        return encode_media(MediaFile(name, content), LIMITS, Modality(name.partition(".")[0]))
    except MediaError as exc:
        return exc


@pytest.fixture(scope="module")
def contents():
    return {name: case.make() for name, case in FILES.items()}


@pytest.fixture(scope="module")
def ours(contents):
    return {name: taken(name, content) for name, content in contents.items()}


@pytest.fixture(scope="module")
def read(contents, ours, tmp_path_factory):
    """What vLLM's readers make of each file as it is, and of what we send of it."""
    folder = tmp_path_factory.mktemp("media")
    for name, content in contents.items():
        (folder / f"{name}.given").write_bytes(content)
        if isinstance(ours[name], Media):
            (folder / f"{name}.sent").write_bytes(ours[name].content)
    run = [str(ENGINES), str(ROOT / "tests" / "vllm_readers.py"), str(folder)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    return {file: verdict(FILES[file.rpartition(".")[0]], each) for file, each in found.items()}


def verdict(case, found):
    """In the words of the table."""
    if "error" in found:
        return "fails"
    if "rate" not in found:
        return "reads it"
    if found["rms"] > 1:
        return "takes it for noise"
    seconds = found["samples"] / found["rate"]
    return "reads it" if abs(seconds - case.seconds) < SAME_S else f"reads {seconds:.0f} of {case.seconds:.0f} s"


@pytest.mark.parametrize("name", FILES)
def test_what_we_take_vllm_reads_and_what_vllm_reads_we_take(ours, read, name):
    if isinstance(ours[name], Media):
        assert read[f"{name}.sent"] == "reads it"
    else:
        assert read[f"{name}.given"] != "reads it", ours[name]


@pytest.mark.parametrize("name", FILES)
def test_what_vllm_reads_is_sent_as_it_is(contents, ours, read, name):
    if read[f"{name}.given"] == "reads it":
        assert ours[name].content == contents[name]


def test_the_table_in_the_docs_says_what_is_done(contents, ours, read):
    shown = (ROOT / "docs" / "media.md").read_text()
    assert shown.partition(BEGIN)[2].partition(END)[0] == "".join(table(contents, ours, read))


def table(contents, ours, read):
    for kind in Modality:
        yield f"\n### {kind.capitalize()}\n\n"
        yield "| container | codec, or what is special | vLLM | here |\n|---|---|---|---|\n"
        for name, case in FILES.items():
            if name.startswith(kind):
                done = here(contents[name], ours[name])
                yield f"| {case.container} | {case.codec} | {read[f'{name}.given']} | {done} |\n"


def here(content, media):
    if not isinstance(media, Media):
        return "refused"
    if media.content == content:
        return "sent as it is"
    return "sent as FLAC" if media.mime == "audio/flac" else "sent with its length"
