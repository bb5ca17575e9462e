"""The served model's name, and a warning if it is a stand-in."""

from __future__ import annotations

from pathlib import Path

from config.recipe import find_recipe
from config.settings import Settings
from frontend.sanitize import escape_html


def model_name(settings: Settings) -> str:
    """Returns the model's name for the saved picture of a race."""
    recipe = find_recipe(settings.model)
    if recipe is None:
        return Path(settings.model).name
    return f"{recipe.name}, a stand-in" if recipe.stand_in else recipe.name


def model_note(settings: Settings) -> str:
    """Returns one line about the model, and a warning if it is a stand-in."""
    recipe = find_recipe(settings.model)
    name = recipe.name if recipe else Path(settings.model).name
    takes = f" · takes {', '.join(['text', *recipe.modalities])}" if recipe else ""
    note = f'<p class="quiet">Model: <b>{escape_html(name)}</b>{takes}</p>'
    if recipe and recipe.stand_in:
        note += f'<p class="stand-in">This model is a stand-in. {escape_html(recipe.note)}</p>'
    return note
