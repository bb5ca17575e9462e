import sys

import pytest

from cache.versions import engine_pythons, serving_versions, versions_of
from config.errors import ConfigError

BOTH = {"vllm": "0.32.0", "lmcache": "0.5.6"}


def test_the_python_beside_the_lmcache_that_is_run_is_asked(tmp_path):
    lmcache = tmp_path / "bin" / "lmcache"
    lmcache.parent.mkdir()
    lmcache.touch(mode=0o755)
    environ = {"PATH": str(lmcache.parent), "ARENA_HOME": str(tmp_path)}
    asked = []
    assert serving_versions(environ, lambda python: asked.append(python) or BOTH) == BOTH
    assert asked == [str(lmcache.parent / "python")]
    assert engine_pythons(environ)[0] == sys.executable, "in a container it is this one"


@pytest.mark.parametrize("found", [{}, {"vllm": "0.32.0"}, {"lmcache": "0.5.6"}])
def test_kv_of_unknown_versions_is_not_shared(tmp_path, found):
    with pytest.raises(ConfigError, match="vllm and lmcache"):
        serving_versions({"PATH": str(tmp_path), "ARENA_HOME": str(tmp_path)}, lambda _: found)


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true", "/bin/false"])
def test_a_python_that_does_not_answer_has_no_versions(python):
    assert versions_of(python) == {}


def test_this_python_says_what_it_has():
    assert versions_of(sys.executable).keys() <= BOTH.keys()
