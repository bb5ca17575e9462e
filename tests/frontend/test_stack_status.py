import asyncio

from fake_engine import FakeEngine, Volume, topology_of

from cache.keeper import Keeper
from cache.volume import ENTRIES, current_namespace
from client.volume_use import DISK_FULL, REPORT, VolumeUse
from config.settings import Settings
from config.topology import Topology
from frontend.stack_status import read_stack, stack_commands, volume_card
from frontend.stack_tab import panel_html


def test_the_panel_shows_what_engines_and_cache_servers_report(settings):
    with FakeEngine("plain-a") as plain, FakeEngine("lmcache-b", volume=Volume()) as shared:
        topology = topology_of([plain, shared])
        cards = asyncio.run(read_stack(topology, settings))
        html = panel_html(cards, stack_commands(settings))
    assert [card.healthy for card in cards] == [True, True, True, None]
    assert [card.facts["model"] for card in cards[:2]] == ["fake", "fake"]
    assert cards[0].facts["context (tokens)"] == "8,192"
    assert html.count('class="up"') == 3
    assert "vllm serve" in html
    assert "lmcache server" in html


def test_services_that_are_down_are_shown_as_such(settings):
    cards = asyncio.run(read_stack(Topology.of(settings), settings))
    assert panel_html(cards, {}).count("no answer") == 6
    assert cards[0].facts["running"] == "–"


def test_the_volumes_size_is_that_of_its_namespace(settings):
    folder = current_namespace(settings)
    assert volume_card(settings).facts["free"] == "–"
    settings.kv_store_dir.mkdir(parents=True)
    assert volume_card(settings).facts["size"] == "0 MiB"
    folder.mkdir()
    (folder / "chunk.data").write_bytes(b"x" * 2**20)
    (folder / "evicted.data").symlink_to("nowhere")  # listed, and not there any more
    facts = volume_card(settings).facts
    assert (facts["size"], facts["files"]) == ("1 MiB", "1")
    assert "iB" in facts["free"]


def test_the_size_of_all_namespaces_and_their_limit_are_what_the_keeper_found(settings):
    settings.kv_store_dir.mkdir(parents=True)
    assert volume_card(settings).facts["all namespaces"] == "–"
    Keeper(settings.kv_store_dir, 3).keep()
    card = volume_card(settings)
    assert (card.facts["all namespaces"], card.kind) == ("0 MiB of at most 3.0 GiB", "")
    full = VolumeUse(files=0, total_bytes=0, max_bytes=0, min_free_bytes=2**60, checked_s=0)
    (settings.kv_store_dir / REPORT).write_text(full.model_dump_json())
    assert volume_card(settings).kind == DISK_FULL


def test_with_more_files_than_are_looked_at_size_and_number_are_lower_bounds(settings):
    folder = current_namespace(settings)
    folder.mkdir(parents=True)
    for number in range(ENTRIES + 1):
        (folder / f"{number}.data").write_bytes(b"x" * 2**10)
    facts = volume_card(settings).facts
    assert (facts["size"], facts["files"]) == ("at least 1 MiB", "at least 1,000")


def test_no_command_line_shows_a_secret(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "HF_TOKEN": "s3cret", "UI_PASSWORD": "s3cret"})
    assert "s3cret" not in str(stack_commands(settings))
    assert "s3cret" not in str(settings.to_env())
