"""Tells vLLM that it runs on a GPU that is not there.

Without a card vLLM ends before it has read its command line, because it finds no platform. With this plugin it reads
the command line and the model, and makes the engine, and ends where its worker asks torch for the device.
"""

from vllm.platforms.cuda import NonNvmlCudaPlatform
from vllm.platforms.interface import DeviceCapability


class NoCard(NonNvmlCudaPlatform):
    """What vLLM asks the driver before it makes an engine, answered as by an H100."""

    @classmethod
    def get_device_capability(cls, device_id=0):  # noqa: ARG003
        return DeviceCapability(9, 0)

    @classmethod
    def get_device_name(cls, device_id=0):  # noqa: ARG003
        return "no card"

    @classmethod
    def get_device_total_memory(cls, device_id=0):  # noqa: ARG003
        return 80 * 2**30


def platform():
    return "no_card.NoCard"
