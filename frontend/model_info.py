"""What the served model is, and what of it is not trained."""

from __future__ import annotations

from pathlib import Path

from config.recipe import find_recipe
from config.settings import Settings
from frontend.sanitize import escape_html


def model_name(settings: Settings) -> str:
    """As the saved picture of a race names it."""
    recipe = find_recipe(settings.model)
    if recipe is None:
        return Path(settings.model).name
    return f"{recipe.name}, a stand-in" if recipe.stand_in else recipe.name


def model_note(settings: Settings) -> str:
    """One line, and for a stand-in a warning."""
    recipe = find_recipe(settings.model)
    name = recipe.name if recipe else Path(settings.model).name
    takes = f" · takes {', '.join(['text', *recipe.modalities])}" if recipe else ""
    note = f'<p class="quiet">Model: <b>{escape_html(name)}</b>{takes}</p>'
    if recipe and recipe.stand_in:
        note += f'<p class="stand-in">This model is a stand-in. {escape_html(recipe.note)}</p>'
    return note
