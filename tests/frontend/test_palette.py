from itertools import combinations

import numpy as np
import pytest

from frontend.palette import ENGINES, SOURCES

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
SIGHTS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
PAPER = {0: "#ffffff", 1: "#1e293b"}  # behind panes, in light and dark
APART = 15  # CIE76; 2.3 is just noticeable side by side


def linear(colour):
    srgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    share = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("dark", [0, 1])
def test_engines_and_sources_are_told_apart_by_the_colour_blind(sight, dark):
    seen = {name: lab(SIGHTS[sight] @ linear(pair[dark])) for name, pair in (ENGINES | SOURCES).items()}
    apart = {(one, other): np.linalg.norm(seen[one] - seen[other]) for one, other in combinations(seen, 2)}
    assert {pair: round(distance, 1) for pair, distance in apart.items() if distance < APART} == {}


@pytest.mark.parametrize("dark", [0, 1])
def test_every_colour_stands_out_from_the_page(dark):
    def contrast(colour):
        low, high = sorted(XYZ[1] @ linear(each) for each in (colour, PAPER[dark]))
        return (high + 0.05) / (low + 0.05)

    assert {name: pair[dark] for name, pair in (ENGINES | SOURCES).items() if contrast(pair[dark]) < 3} == {}
