import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from functools import partial
from io import BytesIO
from struct import pack
from urllib.parse import quote
from zlib import crc32

import av
import numpy as np
import pytest
from fakes import serving
from media_files import FILES, Pipe, filmed, saved, sounded, wav
from PIL import Image

from bench.synthetic_media import audio, image, in_another_container, video, with_another_pixel
from config.errors import MediaError
from config.paths import ROOT
from config.recipe import find_recipe
from media import SAMPLES, Form, Modality
from media.formats import open_container
from media.limits import Limits
from media.load import MediaFile, encode_media, load_media

LIMITS = Limits(mb=2, pixels=1_000_000, seconds=20, frames=30, film_pixels=10**8, files=3, total_mb=4)
PICTURE, FILM, SOUND = ALL = image(1, 64, 64), video(1, 8, 64, 64), audio(1, 1.0)


def loaded(content, limits=LIMITS, wanted=None):
    return encode_media(MediaFile("photo.png", content), limits, wanted)


def refused(content, *words, limits=LIMITS, wanted=None):
    with pytest.raises(MediaError) as caught:
        loaded(content, limits, wanted)
    said = str(caught.value)
    assert "\n" not in said
    for word in ("photo.png", ": ", *words):
        assert word in said


def frames(content):
    with av.open(BytesIO(content), "r") as container:
        return [frame.to_ndarray() for frame in container.decode(container.streams[0])]


def pixels(media):
    if media.modality is Modality.IMAGE:
        return [np.asarray(Image.open(BytesIO(media.content)).convert("RGB"))]
    return frames(media.content)


@pytest.mark.parametrize("media", ALL, ids=lambda m: m.modality)
def test_what_is_generated_is_loaded_as_what_it_is(media):
    again = loaded(media.content)
    assert (again.modality, again.mime, again.content) == (media.modality, media.mime, media.content)
    assert again.size == len(media.content)
    assert again.extent


@pytest.mark.parametrize(
    ("make", "mime", "kept"),
    [
        *((partial(saved, kind), f"image/{kind.lower()}", 3 / 4) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")),
        (partial(saved, "TIFF"), "image/tiff", 3 / 4),
        (partial(sounded, "flac", "flac"), "audio/flac", 1 / 2),
        (partial(sounded, "ogg", "libopus", rate=48_000), "audio/ogg", 1 / 2),
        (partial(sounded, "mp3", "libmp3lame"), "audio/mpeg", 0),  # half of one is one
        (partial(sounded, "mp4", "aac"), "audio/mp4", 1 / 2),
        (partial(sounded, "webm", "libopus", rate=48_000), "audio/webm", 1 / 2),
        (partial(sounded, "adts", "aac"), "audio/aac", 1 / 2),
        (partial(filmed, "avi", "mpeg4"), "video/x-msvideo", 1 / 2),
        (partial(filmed, "webm", "libvpx-vp9"), "video/webm", 1 / 2),
        (partial(filmed, "mov", "libx264"), "video/mp4", 1 / 2),
        *((lambda m=m: m.content, m.mime, 1 / 2) for m in (PICTURE, FILM, SOUND)),
        *((lambda m=m: m.content, m.mime, 1 / 2) for m in map(in_another_container, (FILM, SOUND))),
    ],
)
def test_a_file_is_known_by_its_content_and_refused_when_a_part_is_missing(make, mime, kept):
    content = make()
    assert loaded(content).mime == mime
    if kept:
        refused(content[: int(len(content) * kept)], "damaged")


def test_a_start_of_an_image_is_refused():
    refused(PICTURE.content[:20], "damaged or cut off", "give a whole file")


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_an_ogg_is_refused_wherever_its_last_page_is_cut(codec):
    whole = sounded("ogg", codec, rate=48_000)
    last = whole.rfind(b"OggS")
    for end in [*range(last + 1, min(last + 300, len(whole))), len(whole) - 1]:
        refused(whole[:end], "damaged")


def test_a_film_without_its_last_bytes_is_refused(tmp_path):
    path = tmp_path / "film.mp4"
    film = filmed("mp4", "libx264", target=lambda: path, options={"movflags": "faststart"})  # its index comes first
    assert loaded(film).extent == "64×64, 8 frames"
    refused(film[:-20], "damaged")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, this is text\n" * 99, ("is not an image", "convert it")),
        (b"%PDF-1.7 and so on", ("is not an image", "convert it")),
        (b"\0" * 99, ("is not an image", "convert it")),
        (b"", ("is empty",)),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", ("is not an image",)),
        *((saved(kind), ("is not an image",)) for kind in ("EPS", "PPM", "TGA")),  # which Pillow reads
        (filmed("mpegts", "libx264"), ("is not an image",)),  # which FFmpeg reads
        (FILM.content.replace(b"avc1", b"zzzz"), ("codec that is not supported",)),
        (SOUND.content[:20] + b"\xfe\x0f" + SOUND.content[22:], ("codec that is not supported",)),  # its codec's number
        (wav(seconds=0)[:40] + pack("<I", 32_000), ("damaged",)),  # a WAV of no sample that claims some
    ],
    ids=[
        *("text", "pdf", "zeros", "empty", "playlist", "eps", "ppm", "tga", "mpeg-ts"),
        *("codec of a film", "codec of a sound", "wav"),
    ],
)
def test_what_is_no_media_is_refused_whatever_its_name(content, words):
    refused(content, *words)


@pytest.mark.parametrize("lifted", [{"format_whitelist": "concat,mpegts"}, {"protocol_whitelist": "file,http,tcp"}])
def test_each_whitelist_alone_keeps_a_playlist_from_other_files_and_addresses(tmp_path, lifted):
    film, asked = tmp_path / "film.ts", []
    film.write_bytes(filmed("mpegts", "libx264"))

    def opened(address, **options):
        return open_container(f"ffconcat version 1.0\nfile '{address}'\n".encode(), safe="0", **options)

    with serving(lambda request: (200, asked.append(request.path) or film.read_bytes())) as url:
        for address in (film, f"{url}/film.ts"):
            with pytest.raises(av.error.FFmpegError):
                opened(address, **lifted)
    assert asked == []
    opened(film, format_whitelist="concat,mpegts", protocol_whitelist="file").close()


def test_metadata_that_is_not_in_utf_8_is_no_fault():
    words = b"IART" + pack("<I", 6) + "José\0\0".encode("latin-1")
    listed = SOUND.content[12:] + b"LIST" + pack("<I", 4 + len(words)) + b"INFO" + words
    assert loaded(b"RIFF" + pack("<I", 4 + len(listed)) + b"WAVE" + listed).extent == "1.0 s"


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(3 * 2**20)
    with pytest.raises(MediaError, match=r"3\.0 MiB, over the limit of 2.*MEDIA_MAX_MB"):
        load_media(path, LIMITS)


def header_only_png(side):
    chunk = b"IHDR" + pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    end = b"\0\0\0\0IDAT" + pack(">I", crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + pack(">I", 13) + chunk + pack(">I", crc32(chunk)) + end


def icon_of(png):
    """An icon whose table says 16×16."""
    return pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png


def plain(kind, side, **options):
    """A picture of one colour."""
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words", "limits"),
    [
        *((header_only_png(side), ("pixels",), {}) for side in (2_000, 11_000, 60_000)),
        (header_only_png(15_000), ("pixels, over the limit of 200,000,000",), {"pixels": 200_000_000}),
        (FILM.content, ("64×64 pixels", "MEDIA_MAX_PIXELS"), {"pixels": 4000}),
        (FILM.content, ("frames", "MEDIA_MAX_FRAMES"), {"frames": 7}),
        (in_another_container(FILM).content, ("frames", "MEDIA_MAX_FRAMES"), {"frames": 7}),  # Matroska has no count
        (video(1, 8, 64, 64, fps=1).content, ("MEDIA_MAX_SECONDS",), {"seconds": 5}),
        (audio(1, 6).content, ("MEDIA_MAX_SECONDS",), {"seconds": 5}),
    ],
)
def test_too_much_of_a_kind_is_refused_with_the_setting_that_bounds_it(content, words, limits):
    refused(content, *words, limits=replace(LIMITS, **limits))


BOMB = """
import sys, resource
from config.errors import MediaError
from media.load import MediaFile, encode_media
from media.limits import Limits
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
content, limits = sys.stdin.buffer.read(), Limits(99, 1_000_000, 20, 30, 10**8, 3, 99)
encode_media(MediaFile("small", bytes.fromhex(sys.argv[1])), limits)
before = peak()
try:
    encode_media(MediaFile("bomb", content), limits)
except MediaError as exc:
    print(exc)
print(peak() - before)
"""
HUGE = {"frames": 1, "width": 4000, "height": 4000, "black": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(partial(filmed, "mov", "png", pixel_format="rgb24", **HUGE), id="png-in-mov"),
        pytest.param(partial(filmed, "webm", "libvpx-vp9", encoder={"speed": "8"}, **HUGE), id="vp9"),
        pytest.param(partial(filmed, "mp4", "libx264", **HUGE), id="h264"),
        pytest.param(partial(plain, "AVIF", 2600, speed=10), id="avif"),
        pytest.param(partial(plain, "JPEG2000", 2600), id="jpeg 2000"),
        pytest.param(lambda: icon_of(header_only_png(1200)), id="an icon with a larger picture than it says"),
        pytest.param(partial(plain, "GIF", 5000), id="gif"),
        pytest.param(lambda: header_only_png(9500), id="png"),
        pytest.param(lambda: header_only_png(1200), id="a png of which Pillow only warns"),
    ],
)
def test_a_decompression_bomb_is_refused_before_it_is_unpacked_and_in_silence(bomb):
    run = [sys.executable, "-c", BOMB, filmed("mov", "png", frames=2, pixel_format="rgb24").hex()]
    done = subprocess.run(run, input=bomb(), capture_output=True, check=True, cwd=ROOT)
    said, grown = done.stdout.decode().splitlines()
    assert "pixels, over the limit of 1,000,000" in said
    assert int(grown) < 16 * 1024, "KiB, of the 20 MiB that its smallest picture takes"
    assert done.stderr == b""


@pytest.mark.parametrize(("fps", "taken"), [(1, 8), (8, 2)])
@pytest.mark.parametrize("other", [lambda film: film, in_another_container], ids=["mp4", "matroska"])
def test_a_film_has_a_size_in_the_memory_of_an_engine(other, fps, taken):
    """Which takes two frames a second of it, or all of a slower one, and unpacks them at once."""
    film = other(video(1, 8, 64, 64, fps=fps))
    pixels = taken * 64 * 64
    assert loaded(film.content, replace(LIMITS, film_pixels=pixels))
    said = f"{taken} frames of 64×64 pixels to look at"
    refused(film.content, said, "MEDIA_MAX_FILM_PIXELS", limits=replace(LIMITS, film_pixels=pixels - 1))


def test_many_channels_and_a_high_sampling_rate_count_as_more_samples():
    surround = wav(rate=192_000, channels=8)
    refused(surround, "samples", "MEDIA_MAX_SECONDS", limits=replace(LIMITS, mb=4, seconds=5))
    assert loaded(surround, limits=replace(LIMITS, mb=4)).extent == "1.0 s"


def test_a_prompt_has_so_many_files_and_bytes_together():
    LIMITS.check_prompt([PICTURE, FILM, SOUND])
    with pytest.raises(MediaError, match=r"the prompt has 4 files of media, over the limit of 3: .*MEDIA_MAX_FILES"):
        LIMITS.check_prompt([PICTURE] * 4)
    with pytest.raises(MediaError, match=r"has 4\.2 MiB of media, over the limit of 4: .*MEDIA_MAX_TOTAL_MB"):
        LIMITS.check_prompt([replace(FILM, size=int(2.1 * 2**20))] * 2)
    with pytest.raises(MediaError, match=r"vLLM takes 25 of one sound"):
        LIMITS.check_sound_bytes("sound.wav", 26 * 2**20)


def test_a_recipe_says_what_its_model_takes():
    phi = replace(LIMITS, recipe=find_recipe("Phi-3.5-vision-instruct"))
    phi.check_prompt([PICTURE, PICTURE])
    with pytest.raises(MediaError, match=r"Phi.*takes at most 2 images in one prompt: give 2, or choose a MODEL"):
        phi.check_prompt([PICTURE] * 3)
    with pytest.raises(MediaError, match=r"Phi.*takes no audio: choose a MODEL that does"):
        phi.check_prompt([PICTURE, SOUND])
    replace(LIMITS, recipe=find_recipe("llava-1.5-7b-hf")).check_prompt([PICTURE] * 3)


def test_one_modality_in_place_of_another_is_refused():
    refused(SOUND.content, "is a sound (audio/wav): give an image", wanted=Modality.IMAGE)
    refused(PICTURE.content, "is an image (image/png): give a video", wanted=Modality.VIDEO)


ENCODED = b64encode(PICTURE.content).decode()
LINES = "\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76)) + "\n"  # as GNU's base64 writes it


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(f"data:image/gif;base64,{ENCODED}", id="of another type"),
        pytest.param(f"data:image/png;base64,{LINES}", id="in lines"),
        pytest.param(f"data:image/png;base64,{LINES}".replace("\n", "\r\n"), id="in lines of Windows"),
        pytest.param(f"DATA:IMAGE/PNG;BASE64,{ENCODED}", id="in capitals"),
        pytest.param(f"data:;base64,{ENCODED}", id="without a type"),
        pytest.param(f"data:image/png;charset=utf-8;base64,{ENCODED}", id="with a parameter"),
        pytest.param(f"data:image/png;base64,{ENCODED.rstrip('=')}", id="without padding"),
        pytest.param(f"data:image/png;base64,{ENCODED.rstrip('=')}==", id="with too much padding"),
        pytest.param(f"data:image/png;base64,{quote(ENCODED, safe='')}", id="its base64 in percents"),
        pytest.param(f"data:image/png;base64,{ENCODED.translate({43: '-', 47: '_'})}", id="in the alphabet for URLs"),
        pytest.param(f"data:image/png,{quote(PICTURE.content)}", id="in percents"),
        pytest.param(f" data:image/png;base64,{ENCODED}\n", id="between spaces"),
        pytest.param(ENCODED, id="base64 alone"),
        pytest.param(LINES, id="base64 alone, in lines"),
    ],
)
def test_a_data_address_is_taken_as_all_programs_write_it(address):
    media = load_media(address, LIMITS)
    assert (media.mime, media.content, media.url) == ("image/png", PICTURE.content, "")


@pytest.mark.parametrize(
    "bad",
    [
        *(f"data:image/png;base64,{body}" for body in ("@@@@", "abcde", "ab=c", "", "%")),
        *("data:image/png,", "data:image/png,abc", "data:", "A" * 100_001, "A" * 100_000),
        *("/photos/" + "a" * 5000 + ".png", "a\0b", "\x1b[2Jnothing\nhere.png"),
        *("http://127.0.0.1:1/" + "a" * 5000, "http://127.0.0.1:1/\x1b[2J\n"),
    ],
    ids=lambda bad: repr(bad[:30]),
)
def test_what_is_refused_is_named_on_one_line_and_briefly(bad):
    with pytest.raises(MediaError) as caught:
        load_media(bad, LIMITS)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_data_address_is_bounded_before_it_is_decoded():
    with pytest.raises(MediaError, match="MEDIA_MAX_MB"):
        load_media("data:image/png;base64," + "A" * (4 * 2**20), LIMITS)


def test_a_file_with_the_name_of_base64_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ("A" * 128)).write_bytes(PICTURE.content)
    assert load_media("A" * 128, LIMITS).content == PICTURE.content


def test_a_path_that_is_not_there_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(MediaError, match="cannot be read"):
            load_media(path, LIMITS)


@pytest.mark.parametrize(("make", "sizes"), [(image, (64, 64)), (video, (4, 64, 64)), (audio, (0.5,))])
def test_a_seed_gives_the_same_media_always_and_another_one_other_media_everywhere(make, sizes):
    assert make(3, *sizes) == make(3, *sizes)
    for one, other in zip(pixels(make(3, *sizes)), pixels(make(4, *sizes)), strict=True):
        assert np.mean(one != other) > 0.5


def test_no_two_patches_of_an_image_are_alike():
    (picture,) = pixels(image(1))
    patches = picture.reshape(32, 14, 32, 14, 3).swapaxes(1, 2).reshape(1024, -1)
    assert len(np.unique(patches, axis=0)) == 1024


def test_one_more_frame_leaves_the_others_as_they_are():
    short, long = pixels(FILM), pixels(video(1, 9, 64, 64))
    assert len(long) == len(short) + 1
    assert all(np.array_equal(one, other) for one, other in zip(short, long, strict=False))
    assert not np.array_equal(long[-1], long[-2])


def test_another_pixel_is_one():
    (one,), (other,) = pixels(PICTURE), pixels(with_another_pixel(PICTURE))
    assert (one != other).any(axis=2).sum() == 1


@pytest.mark.parametrize("media", ALL, ids=str)
def test_another_container_has_the_same_pixels_or_samples(media):
    other = in_another_container(media)
    assert other.content != media.content
    assert other.mime != media.mime
    assert loaded(other.content).mime == other.mime
    assert np.array_equal(np.concatenate(pixels(media), axis=-1), np.concatenate(pixels(other), axis=-1))


@pytest.mark.parametrize("name", ["image.png", "image-2.png", "video.mp4", "speech.ogg"])
def test_the_samples_are_whole_and_small(name):
    assert load_media(SAMPLES / name, replace(LIMITS, seconds=90)).size < 150_000


def test_each_form_is_a_part_as_vllm_takes_it():
    assert PICTURE.part == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE.base64}"}}
    there = replace(FILM, url="http://host/film.mp4", form=Form.URL)
    assert there.part == {"type": "video_url", "video_url": {"url": "http://host/film.mp4"}}
    spoken = replace(SOUND, form=Form.INPUT_AUDIO)
    assert spoken.part == {"type": "input_audio", "input_audio": {"data": SOUND.base64, "format": "wav"}}


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x24\xf0\xff\x7f", b"\0\0\0\0"])
def test_a_wav_from_a_pipe_that_does_not_know_its_length_is_taken(size):
    streamed = SOUND.content[:4] + size + SOUND.content[8:40] + size + SOUND.content[44:]
    assert loaded(streamed).extent == "1.0 s"


@pytest.mark.parametrize(("kind", "mime"), [("webm", "video/webm"), ("matroska", "video/x-matroska")])
def test_a_film_that_was_recorded_as_a_stream_is_given_its_length(kind, mime):
    """Else vLLM counts no frames in it, and answers with an error of its own."""
    content = filmed(kind, "libvpx", frames=12, rate=20, target=Pipe)
    with av.open(BytesIO(content)) as film:
        assert film.duration is None
    media = loaded(content)
    assert (media.modality, media.mime) == (Modality.VIDEO, mime)
    with av.open(BytesIO(media.content)) as film:
        assert film.duration == pytest.approx(12 / 20 * 1e6, rel=0.1)
        assert sum(packet.size > 0 for packet in film.demux(video=0)) == 12
    assert loaded(content).content == media.content


def test_a_recorded_film_keeps_its_first_frames():
    """Their times of decoding are not known; all other frames build on them."""
    media = loaded(FILES["video.mkv-recorded"].make())
    with av.open(BytesIO(media.content)) as film:
        assert next(packet.is_keyframe for packet in film.demux(video=0) if packet.size)
    assert len(frames(media.content)) == 8


def test_a_streamed_film_that_cannot_be_written_again_is_refused():
    """It says that it is WebM, which has no H.264."""
    film = filmed("matroska", "h264", target=Pipe).replace(b"\x42\x82\x88matroska", b"\x42\x82\x88webm\0\0\0\0", 1)
    refused(film, "how long it is", "convert it to MP4")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("image.heic", ("HEIC", "convert it to JPEG")),
        ("image.png-text", ("cannot be decoded", "save it again, without its metadata")),
        ("image.png-tall", ("1×5,000", "give a part of it")),
        ("video.mp4-one", ("film of one frame", "give it as an image")),
        ("video.webm-av1", ("AV1", "convert it to H.264")),
        ("audio.wav-sample", ("lasts 0.062 ms", "give more")),
        ("audio.wav-twice", ("a second WAV", "give one of them")),
    ],
)
def test_what_vllm_does_not_read_is_refused_for_its_real_reason(name, words):
    refused(FILES[name].make(), *words)


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("image.avif", "image/avif"),
        ("image.mpo", "image/mpo"),
        ("video.mp4-trimmed", "video/mp4"),  # it starts between key frames
        ("audio.ogg-opus-endless", "audio/ogg"),
        ("audio.wav-riff-whole", "audio/wav"),
        ("audio.amr", "audio/amr"),
    ],
)
def test_what_vllm_reads_is_sent_as_it_is(name, mime):
    content = FILES[name].make()
    media = loaded(content)
    assert (media.mime, media.content) == (mime, content)


def test_a_gif_that_moves_is_an_image_unless_a_film_is_wanted():
    content = FILES["image.gif-moving"].make()
    assert loaded(content).modality is Modality.IMAGE
    assert loaded(content, wanted=Modality.VIDEO).mime == "video/gif"
    refused(FILES["image.gif"].make(), "is an image", wanted=Modality.VIDEO)


@pytest.mark.parametrize("name", ["m4a-alac", "m4a-alac-stereo", "mov-pcm", "mkv-flac", "ogg-flac", "wav-data-0"])
def test_a_sound_that_vllm_would_misread_becomes_flac_of_the_same_samples_and_bytes(name):
    content = FILES[f"audio.{name}"].make()
    media = loaded(content)
    assert media.mime == "audio/flac"
    assert np.array_equal(samples(content), samples(media.content))
    assert loaded(content).content == media.content


def samples(content):
    """Of 16 bits, a row for each channel."""
    with av.open(BytesIO(content)) as sound:
        resampler = av.AudioResampler(format="s16p")
        frames = [each for frame in sound.decode(audio=0) for each in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)


def test_a_film_that_ends_with_a_still_is_whole():
    """Its header says how long that is shown; its last frame does not."""
    film = filmed("matroska", "libx264")
    longer = film.replace(pack(">d", 2000.0), pack(">d", 9000.0), 1)
    assert longer != film
    assert loaded(longer).extent == "64×64, 8 frames"
    refused(longer[:-20], "damaged")
