"""What the served model is, and what of it is not real."""

from __future__ import annotations

from pathlib import Path

from config.recipe import find_recipe
from config.settings import Settings
from frontend.sanitize import escape_html


def model_name(settings: Settings) -> str:
    """For a picture's margin."""
    recipe = find_recipe(settings.model)
    if recipe is None:
        return Path(settings.model).name
    return f"{recipe.name}, a stand-in" if recipe.stand_in else recipe.name


def model_note(settings: Settings) -> str:
    """One line, and for a stand-in a warning that cannot be overlooked."""
    recipe = find_recipe(settings.model)
    name = recipe.name if recipe else Path(settings.model).name
    takes = f" · takes {', '.join(['text', *recipe.modalities])}" if recipe else ""
    said = f'<p class="quiet">Model: <b>{escape_html(name)}</b>{takes}</p>'
    if recipe is None or not recipe.stand_in:
        return said
    return f'{said}<p class="stand-in">This model is a stand-in. {escape_html(recipe.note)}</p>'
