import gzip
import os
import socket
import struct
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.synthetic_media import image
from config.errors import MediaError
from media.download import MAX_ADDRESSES, MAX_REDIRECTS, download, is_public_address
from media.limits import Limits
from media.load import load_media

PICTURE = image(1, 32, 32)
LIMITS = Limits(
    mb=1,
    pixels=10_000,
    seconds=5,
    frames=9,
    film_pixels=10**8,
    files=9,
    total_mb=9,
    allowed_hosts=frozenset({"127.0.0.1", "inside.test"}),
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        getattr(self, self.path.split("/")[1].split("?")[0])()

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def whole(self):
        self.head(Content_Length=str(PICTURE.size), Content_Type="text/plain")
        self.wfile.write(PICTURE.content)

    def short(self):
        self.head(Content_Length=str(PICTURE.size + 1))
        self.wfile.write(PICTURE.content)

    def huge(self):
        self.head(Content_Length=str(2**40))

    def missing(self):
        self.head(404)

    def elsewhere(self):
        self.head(302, Location=f"http://localhost:{self.server.server_port}/whole")

    def literal(self):
        """A host that is allowed redirects to its own address, which is not."""
        self.head(302, Location=f"http://[::1]:{self.server.server_port}/whole")

    def here(self):
        self.head(302, Location="/whole")

    def file(self):
        self.head(302, Location="file:///etc/hostname")

    def round(self):
        self.head(302, Location="/round")

    def endless(self):
        self.head()
        self.pour(b"\0" * 65_536)

    def trickle(self):
        self.head()
        self.pour(b"\0", every=0.02)

    def header(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self.pour(b"x", every=0.02)

    def zipped(self):
        self.head(Content_Encoding="gzip")
        self.wfile.write(gzip.compress(PICTURE.content))

    def swollen(self):
        self.head(Content_Encoding="gzip")
        self.wfile.write(gzip.compress(b"\0" * 2**21))

    def unzippable(self):
        self.head(Content_Encoding="gzip")
        self.wfile.write(PICTURE.content)

    def reset(self):
        """After a redirect, so that an earlier connection is one that its peer has ended."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.head(302, Location="/trickle")
        self.wfile.flush()
        self.close_connection = True
        os.close(self.connection.detach())

    def silence(self):
        self.server.over.wait(10)

    def pour(self, piece, every=0.0):
        try:
            while not self.server.over.wait(every):
                self.wfile.write(piece)
        except OSError:
            pass

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.over, server.daemon_threads = threading.Event(), False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def address():
    with serving() as server:
        yield f"http://127.0.0.1:{server.server_port}"


def refused(url, deadline=10.0):
    with pytest.raises(MediaError) as caught:
        download(url, LIMITS, deadline)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", ["whole", "here"])
def test_a_file_is_downloaded_and_keeps_its_address(address, path):
    media = load_media(f"{address}/{path}?a=b", LIMITS)
    assert (media.content, media.name, media.mime) == (PICTURE.content, path, "image/png")
    assert media.url == f"{address}/{path}?a=b"


@pytest.mark.parametrize("url", ["ftp://host/a.png", "file:///etc/hostname", "gopher://host/1"])
def test_an_address_that_is_not_http_is_refused(url):
    with pytest.raises(MediaError, match="neither http:// nor https://"):
        load_media(url, LIMITS)


@pytest.mark.parametrize("url", ["http://", "http:///a.png", "http://a b/", "http://[::1/", "http://h:99999/"])
def test_an_address_that_is_none_is_refused(url):
    refused(url)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001"])
def test_an_address_in_another_notation_is_refused(host):
    refused(f"http://{host}:1/a.png")


@pytest.mark.parametrize("host", ["localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "10.0.0.1"])
def test_a_host_inside_is_refused_unless_it_is_named(host):
    assert "not a public address" in refused(f"http://{host}:1/a.png")
    assert "ALLOWED_MEDIA_DOMAINS" in refused(f"https://{host}:1/a.png")


def test_the_address_that_was_checked_is_the_one_connected_to(address):
    asked = []

    def resolve(host, port, **_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    port = address.rpartition(":")[2]
    assert download(f"http://inside.test:{port}/whole", LIMITS, getaddrinfo=resolve) == PICTURE.content
    with pytest.raises(MediaError, match=r"outside\.test is at 127\.0\.0\.1"):
        download(f"http://outside.test:{port}/whole", LIMITS, getaddrinfo=resolve)
    assert asked == ["inside.test", "outside.test"]


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    found = [(0, 0, 0, "", (address, 80)) for address in ("9.9.9.9", "192.168.0.1")]
    with pytest.raises(MediaError, match=r"192\.168\.0\.1"):
        download("http://both.test/", LIMITS, getaddrinfo=lambda *_, **__: found)


def test_the_deadline_holds_for_a_resolver_that_does_not_answer():
    answer = threading.Event()
    with pytest.raises(MediaError, match=r"within 0\.2 s"):
        download("http://slow.test/", LIMITS, 0.2, getaddrinfo=lambda *_, **__: answer.wait(20))
    answer.set()


def test_the_deadline_holds_for_addresses_that_let_nobody_in():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        port = full.getsockname()[1]
        for _ in range(4):  # more than its backlog takes; whoever comes next gets no answer
            queued = waiting.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(("127.0.0.1", port))
        found = [(0, 0, 0, "", ("127.0.0.1", port))]
        with pytest.raises(MediaError, match=r"within 0\.2 s"):
            download(f"http://inside.test:{port}/", LIMITS, 0.2, getaddrinfo=lambda *_, **__: found)


def test_no_more_addresses_of_a_name_are_tried_than_a_few(address):
    port = int(address.rpartition(":")[2])
    dead = [(0, 0, 0, "", (f"127.0.0.{number}", port)) for number in range(2, 2 + MAX_ADDRESSES)]
    alive = [(0, 0, 0, "", ("127.0.0.1", port))]
    url = f"http://inside.test:{port}/whole"
    assert download(url, LIMITS, getaddrinfo=lambda *_, **__: dead[1:] + alive) == PICTURE.content
    with pytest.raises(MediaError, match="Connection refused"):
        download(url, LIMITS, getaddrinfo=lambda *_, **__: dead + alive)


def test_a_zipped_body_is_taken_as_what_it_holds(address):
    assert download(f"{address}/zipped", LIMITS) == PICTURE.content


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("elsewhere", "localhost is at"),
        ("literal", "::1 is at ::1"),
        ("file", "neither http"),
        ("round", f"more than {MAX_REDIRECTS} times"),
        ("swollen", "over the limit of 1"),
        ("endless", "over the limit of 1"),
        ("huge", "MEDIA_MAX_MB"),
        ("missing", "HTTP 404"),
        ("unzippable", "cannot be read"),
        ("short", "cannot be read"),
    ],
)
def test_an_answer_that_is_not_one_whole_file_within_the_limit_is_refused(address, path, said):
    assert said in refused(f"{address}/{path}")


@pytest.mark.parametrize("path", ["trickle", "header", "silence", "reset"])
def test_a_slow_answer_ends_at_the_deadline(address, path):
    assert "within 0.3 s" in refused(f"{address}/{path}", deadline=0.3)


def test_nobody_there_is_said_plainly():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "Connection refused" in refused(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "ip",
    ["9.9.9.9", "2606:4700::1111", "::ffff:9.9.9.9", pytest.param("64:ff9b::909:909", id="NAT64"), "2002:909:909::"],
)
def test_public_addresses(ip):
    assert is_public_address(ip)


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1%eth0", "fd00::1"),
        *("100.64.0.1", "0.0.0.0", "224.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1"),
        *("64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),  # NAT64
        *("2002:7f00:1::", "2002:a00:1::1"),  # 6to4
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    ],
)
def test_addresses_that_are_not_public(ip):
    assert not is_public_address(ip)
