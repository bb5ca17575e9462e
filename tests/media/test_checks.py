import subprocess
import sys
import wave
from base64 import b64encode
from dataclasses import replace
from io import BytesIO
from struct import pack
from urllib.parse import quote
from zlib import crc32

import av
import numpy as np
import pytest
from media_files import FILES
from PIL import Image

from bench.synthetic_media import audio, image, in_another_container, video, with_another_pixel
from config.errors import MediaError
from config.paths import ROOT
from config.recipe import find_recipe
from media import Form, Modality
from media.limits import Limits
from media.load import MediaFile, encode_media, load_media

LIMITS = Limits(mb=2, pixels=1_000_000, seconds=20, frames=30, film_pixels=10**8, files=3, total_mb=4)
PICTURE, FILM, SOUND = image(1, 64, 64), video(1, 8, 64, 64), audio(1, 1.0)
ALL = (PICTURE, FILM, SOUND)


def loaded(content, name="photo.png", limits=LIMITS, wanted=None):
    return encode_media(MediaFile(name, content), limits, wanted)


def refused(content, *words, name="photo.png", limits=LIMITS, wanted=None):
    with pytest.raises(MediaError) as caught:
        loaded(content, name, limits, wanted)
    said = str(caught.value)
    assert name in said
    assert ":" in said
    assert "\n" not in said
    for word in words:
        assert word in said
    return said


def pixels(media):
    if media.modality is Modality.IMAGE:
        return [np.asarray(Image.open(BytesIO(media.content)).convert("RGB"))]
    with av.open(BytesIO(media.content), "r") as container:
        return [frame.to_ndarray() for frame in container.decode(container.streams[0])]


def as_format(kind, **options):
    file = BytesIO()
    Image.open(BytesIO(PICTURE.content)).save(file, kind, **options)
    return file.getvalue()


def recoded(kind, codec, rate=48_000, **options):
    file = BytesIO()
    with av.open(BytesIO(SOUND.content), "r") as source, av.open(file, "w", format=kind) as target:
        stream = target.add_stream(codec, rate=rate, **options)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return file.getvalue()


def filmed(kind, codec, pixel_format="yuv420p", side=64, frames=8):
    """A film of one black picture."""
    file = BytesIO()
    with av.open(file, "w", format=kind) as target:
        stream = target.add_stream(codec, rate=4, options={"speed": "8"})
        stream.width, stream.height, stream.pix_fmt = side, side, pixel_format
        black = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), format="rgb24")
        for _ in range(frames):
            target.mux(stream.encode(black))
        target.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize("media", ALL, ids=lambda m: m.modality)
def test_what_is_generated_is_loaded_as_what_it_is(media):
    again = loaded(media.content, media.name)
    assert (again.modality, again.mime, again.content) == (media.modality, media.mime, media.content)
    assert again.size == len(media.content)
    assert again.extent


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_mislabelled_image_is_sent_as_what_it_is(kind):
    assert loaded(as_format(kind), "photo.mp4").mime == f"image/{kind.lower()}"


@pytest.mark.parametrize(
    ("kind", "codec", "mime"),
    [
        ("flac", "flac", "audio/flac"),
        ("ogg", "libopus", "audio/ogg"),
        ("mp3", "libmp3lame", "audio/mpeg"),
        ("mp4", "aac", "audio/mp4"),
        ("webm", "libopus", "audio/webm"),
        ("adts", "aac", "audio/aac"),
    ],
)
def test_a_sound_of_another_format_is_known_and_half_of_it_is_refused(kind, codec, mime):
    content = recoded(kind, codec)
    assert loaded(content, "sound.wav").mime == mime
    if kind != "mp3":  # half of one is one
        refused(content[: len(content) // 2], "damaged", name="sound.wav")


@pytest.mark.parametrize(
    ("kind", "codec", "mime"),
    [("avi", "mpeg4", "video/x-msvideo"), ("webm", "libvpx-vp9", "video/webm"), ("mov", "libx264", "video/mp4")],
)
def test_a_film_of_another_format_is_known_and_half_of_it_is_refused(kind, codec, mime):
    content = filmed(kind, codec)
    film = loaded(content, "film.mp4")
    assert (film.mime, film.extent) == (mime, "64×64, 8 frames")
    refused(content[: len(content) // 2], "damaged", name="film.mp4")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_truncated_image_is_refused(kind):
    content = as_format(kind)
    refused(content[: len(content) * 3 // 4], "damaged or cut off", "give a whole file")


def test_a_start_of_an_image_is_refused():
    refused(PICTURE.content[:20], "damaged")


@pytest.mark.parametrize("media", [FILM, SOUND, in_another_container(FILM), in_another_container(SOUND)], ids=str)
def test_a_truncated_film_or_sound_is_refused(media):
    refused(media.content[: media.size // 2], "damaged")


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_an_ogg_is_refused_wherever_its_last_page_is_cut(codec):
    whole = recoded("ogg", codec)
    last = whole.rfind(b"OggS")
    for end in [*range(last + 1, min(last + 300, len(whole))), len(whole) - 1]:
        refused(whole[:end], "damaged", name="sound.ogg")


def test_a_film_without_its_last_bytes_is_refused(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as target:  # its index stands before its frames
        stream = target.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for picture in pixels(image(1, 64, 64)) * 4:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())
    assert loaded(path.read_bytes()).modality is Modality.VIDEO
    refused(path.read_bytes()[:-20], "damaged")


def test_a_film_that_was_cut_to_start_between_key_frames_is_taken():
    file = BytesIO()
    as_is = {"avoid_negative_ts": "disabled"}  # what lies before zero is there, and not shown
    with av.open(BytesIO(FILM.content), "r") as source, av.open(file, "w", format="mp4", options=as_is) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = [time - round(1 / packet.time_base) for time in (packet.pts, packet.dts)]
                packet.stream = stream
                target.mux(packet)
    assert loaded(file.getvalue(), "film.mp4").modality is Modality.VIDEO


@pytest.mark.parametrize("content", [b"hello, this is text\n" * 99, b"%PDF-1.7 and so on", b"\0" * 99])
def test_what_is_no_media_is_refused_whatever_its_name(content):
    refused(content, "is not an image", "convert it")


def test_an_empty_file_is_refused():
    refused(b"", "is empty")


def test_a_playlist_makes_nobody_open_other_files():
    refused(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "is not an image"
    )


def test_an_unknown_codec_is_refused():
    refused(FILM.content.replace(b"avc1", b"zzzz"), "codec that is not supported")


def test_an_unknown_codec_of_a_sound_is_refused():
    unknown = SOUND.content[:20] + b"\xfe\x0f" + SOUND.content[22:]  # the number of its codec
    refused(unknown, "codec that is not supported", name="sound.wav")


def test_words_that_are_not_in_utf_8_are_no_fault():
    words = b"IART" + pack("<I", 6) + "José\0\0".encode("latin-1")
    listed = SOUND.content[12:] + b"LIST" + pack("<I", 4 + len(words)) + b"INFO" + words
    assert loaded(b"RIFF" + pack("<I", 4 + len(listed)) + b"WAVE" + listed, "sound.wav").extent == "1.0 s"


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(3 * 2**20)
    with pytest.raises(MediaError, match=r"3\.0 MiB, over the limit of 2.*MEDIA_MAX_MB"):
        load_media(path, LIMITS)


def header_only_png(width, height):
    chunk = b"IHDR" + pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"\0\0\0\0IDAT" + pack(">I", crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + pack(">I", 13) + chunk + pack(">I", crc32(chunk)) + end


@pytest.mark.parametrize("side", [2_000, 11_000, 60_000])
def test_too_many_pixels_are_refused_by_the_header_alone(side):
    refused(header_only_png(side, side), "pixels")


def test_the_limit_of_pixels_is_the_operators_alone():
    refused(
        header_only_png(15_000, 15_000),
        "pixels, over the limit of 200,000,000",
        limits=replace(LIMITS, pixels=200_000_000),
    )


def test_too_many_pixels_of_a_film_are_refused():
    refused(FILM.content, "64×64 pixels", "MEDIA_MAX_PIXELS", limits=replace(LIMITS, pixels=4000))


def plain(kind, side, **options):
    """A picture of one colour."""
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, kind, **options)
    return file.getvalue()


def icon_of(png):
    """An icon whose table says 16×16."""
    return pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png


BOMB = """
import sys, resource
from config.errors import MediaError
from media.load import File, encode
from media.limits import Limits
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
content, limits = sys.stdin.buffer.read(), Limits(99, 1_000_000, 20, 30, 10**8, 3, 99)
encode(File("small", bytes.fromhex(sys.argv[1])), limits)
before = peak()
try:
    encode(File("bomb", content), limits)
except MediaError as exc:
    print(exc)
print(peak() - before)
"""


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(lambda: filmed("mov", "png", "rgb24", 4000, 1), id="png-in-mov"),
        pytest.param(lambda: filmed("webm", "libvpx-vp9", side=4000, frames=1), id="vp9"),
        pytest.param(lambda: filmed("mp4", "libx264", side=4000, frames=1), id="h264"),
        pytest.param(lambda: plain("AVIF", 2600, speed=10), id="avif"),
        pytest.param(lambda: plain("JPEG2000", 2600), id="jpeg 2000"),
        pytest.param(lambda: icon_of(header_only_png(1200, 1200)), id="an icon with a larger picture than it says"),
        pytest.param(lambda: plain("GIF", 5000), id="gif"),
        pytest.param(lambda: header_only_png(9500, 9500), id="png"),
        pytest.param(lambda: header_only_png(1200, 1200), id="a png of which Pillow only warns"),
    ],
)
def test_a_decompression_bomb_is_refused_before_it_is_unpacked_and_in_silence(bomb):
    run = [sys.executable, "-c", BOMB, filmed("mov", "png", "rgb24", 64, 2).hex()]
    done = subprocess.run(run, input=bomb(), capture_output=True, check=True, cwd=ROOT)
    said, grown = done.stdout.decode().splitlines()
    assert "pixels, over the limit of 1,000,000" in said
    assert int(grown) < 16 * 1024, "KiB, of the 20 MiB that its smallest picture takes"
    assert done.stderr == b""


@pytest.mark.parametrize("film", [FILM, in_another_container(FILM)], ids=str)  # Matroska does not say how many it has
def test_too_many_frames_are_refused(film):
    refused(film.content, "frames", "MEDIA_MAX_FRAMES", limits=replace(LIMITS, frames=7))


@pytest.mark.parametrize(("fps", "taken"), [(1, 8), (8, 2)])
@pytest.mark.parametrize("other", [lambda film: film, in_another_container], ids=["mp4", "matroska"])
def test_a_film_has_a_size_in_the_memory_of_an_engine(other, fps, taken):
    """Which takes two frames a second of it, or all of a slower one, and unpacks them at once."""
    film = other(video(1, 8, 64, 64, fps=fps))
    pixels = taken * 64 * 64
    assert loaded(film.content, "film", replace(LIMITS, film_pixels=pixels))
    said = f"{taken} frames of 64×64 pixels to look at"
    refused(film.content, said, "MEDIA_MAX_FILM_PIXELS", limits=replace(LIMITS, film_pixels=pixels - 1))


@pytest.mark.parametrize("media", [video(1, 8, 64, 64, fps=1), audio(1, 6)], ids=str)
def test_too_many_seconds_are_refused(media):
    refused(media.content, "MEDIA_MAX_SECONDS", limits=replace(LIMITS, seconds=5))


def test_many_channels_and_a_high_sampling_rate_count_as_more_samples():
    surround = recoded("wav", "pcm_s16le", 192_000, layout="7.1")
    refused(surround, "samples", "MEDIA_MAX_SECONDS", limits=replace(LIMITS, mb=4, seconds=5))
    assert loaded(surround, limits=replace(LIMITS, mb=4)).extent == "1.0 s"


def test_a_prompt_has_so_many_files_and_bytes_together():
    LIMITS.of_prompt([PICTURE, FILM, SOUND])
    with pytest.raises(MediaError, match=r"the prompt has 4 files of media, over the limit of 3: .*MEDIA_MAX_FILES"):
        LIMITS.of_prompt([PICTURE] * 4)
    with pytest.raises(MediaError, match=r"has 4\.2 MiB of media, over the limit of 4: .*MEDIA_MAX_TOTAL_MB"):
        LIMITS.of_prompt([replace(FILM, size=int(2.1 * 2**20))] * 2)


def test_a_recipe_says_what_its_model_takes():
    phi = replace(LIMITS, recipe=find_recipe("Phi-3.5-vision-instruct"))
    phi.of_prompt([PICTURE, PICTURE])
    with pytest.raises(MediaError, match=r"Phi.*takes at most 2 images in one prompt: give 2, or choose a MODEL"):
        phi.of_prompt([PICTURE] * 3)
    with pytest.raises(MediaError, match=r"Phi.*takes no audio: choose a MODEL that does"):
        phi.of_prompt([PICTURE, SOUND])
    replace(LIMITS, recipe=find_recipe("llava-1.5-7b-hf")).of_prompt([PICTURE] * 3)


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
        "data:image/png;base64,@@@@",
        "data:image/png;base64,abcde",
        "data:image/png;base64,ab=c",
        "data:image/png;base64,",
        "data:image/png;base64,%",
        "data:image/png,",
        "data:image/png,abc",
        "data:",
        "A" * 100_001,
        "A" * 100_000,
        "/photos/" + "a" * 5000 + ".png",
        "a\0b",
        "\x1b[2Jnothing\nhere.png",
        "http://127.0.0.1:1/" + "a" * 5000,
        "http://127.0.0.1:1/\x1b[2J\n",
    ],
    ids=lambda bad: repr(bad[:30]),
)
def test_what_is_refused_is_named_on_one_line_and_briefly(bad):
    with pytest.raises(MediaError) as caught:
        load_media(bad, LIMITS)
    said = str(caught.value)
    assert len(said) < 400
    assert said.isprintable()


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
    media = load_media(ROOT / "engines" / "samples" / name, replace(LIMITS, seconds=90))
    assert media.size < 150_000


def test_each_form_is_a_part_as_vllm_takes_it():
    assert PICTURE.part == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE.base64}"}}
    there = replace(FILM, url="http://host/film.mp4", form=Form.URL)
    assert there.part == {"type": "video_url", "video_url": {"url": "http://host/film.mp4"}}
    spoken = replace(SOUND, form=Form.INPUT_AUDIO)
    assert spoken.part == {"type": "input_audio", "input_audio": {"data": SOUND.base64, "format": "wav"}}


def test_a_sound_that_says_it_has_more_than_it_has_is_refused():
    file = BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(b"")
    refused(file.getvalue(), "damaged", name="silence.wav")


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x24\xf0\xff\x7f", b"\0\0\0\0"])
def test_a_wav_from_a_pipe_that_does_not_know_its_length_is_taken(size):
    streamed = SOUND.content[:4] + size + SOUND.content[8:40] + size + SOUND.content[44:]
    assert loaded(streamed, "spoken.wav").extent == "1.0 s"


def streamed(kind, codec="libvpx"):
    """A film as a browser's recorder writes it: to a target in which it cannot go back."""

    class Pipe(BytesIO):
        def seekable(self):
            return False

        seek = None

    pipe = Pipe()
    with av.open(pipe, "w", format=kind) as target:
        stream = target.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for _ in range(12):
            target.mux(stream.encode(black))
        target.mux(stream.encode())
    return pipe.getvalue()


@pytest.mark.parametrize("kind", ["webm", "matroska"])
def test_a_film_that_was_recorded_as_a_stream_is_given_its_length(kind):
    """Else vLLM counts no frames in it, and answers with an error of its own."""
    content = streamed(kind)
    with av.open(BytesIO(content)) as film:
        assert film.duration is None
    media = loaded(content, "camera.webm")
    assert (media.modality, media.mime) == (
        Modality.VIDEO,
        {"webm": "video/webm", "matroska": "video/x-matroska"}[kind],
    )
    with av.open(BytesIO(media.content)) as film:
        assert film.duration == pytest.approx(12 / 20 * 1e6, rel=0.1)
        assert sum(packet.size > 0 for packet in film.demux(video=0)) == 12
    assert loaded(content, "again.webm").content == media.content


def test_a_streamed_film_that_cannot_be_written_again_is_refused():
    """It says that it is WebM, which has no H.264."""
    film = streamed("matroska", "h264").replace(b"\x42\x82\x88matroska", b"\x42\x82\x88webm\0\0\0\0", 1)
    refused(film, "how long it is", "convert it to MP4", name="camera.webm")


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
    refused(FILES[name].make(), *words, name="it")


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("image.avif", "image/avif"),
        ("image.mpo", "image/mpo"),
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
    assert loaded(longer, "film.mkv").extent == "64×64, 8 frames"
    refused(longer[:-20], "damaged", name="film.mkv")


def test_a_recorded_film_keeps_its_first_frames():
    """Their times of decoding are not known; they are the ones that all others build on."""
    media = loaded(FILES["video.mkv-recorded"].make(), "camera.mkv")
    with av.open(BytesIO(media.content)) as film:
        assert next(packet.is_keyframe for packet in film.demux(video=0) if packet.size)
        film.seek(0)
        assert len(list(film.decode(video=0))) == 8


def test_a_sound_that_vllm_finds_too_large_is_refused():
    with pytest.raises(MediaError, match=r"vLLM takes 25 of one sound"):
        LIMITS.of_sound("sound.wav", 26 * 2**20)
