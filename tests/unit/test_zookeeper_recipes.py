"""Names and order of the nodes of ZooKeeper's recipes."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from leadership_zookeeper.recipe import CURATOR_LATCH, CURATOR_SELECTOR, KAZOO, RECIPES, Recipe

_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.mark.parametrize(
    ("recipe", "pattern"),
    [
        (KAZOO, "[0-9a-f]{32}__lock__"),
        (CURATOR_LATCH, f"_c_{_UUID}-latch-"),
        (CURATOR_SELECTOR, f"_c_{_UUID}-lock-"),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_prefix_is_that_of_the_recipe_and_unique(recipe: Recipe, pattern: str) -> None:
    prefixes = {recipe.new_prefix() for _ in range(50)}
    assert len(prefixes) == 50
    assert all(re.fullmatch(pattern, prefix) for prefix in prefixes)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_nodes_of_other_recipes_are_not_claims(recipe: Recipe) -> None:
    for other in RECIPES.values():
        name = f"{other.new_prefix()}0000000007"
        assert recipe.sequence(name) == (7 if other is recipe else None)


@pytest.mark.parametrize("recipe", [CURATOR_LATCH, CURATOR_SELECTOR], ids=lambda one: one.name)
def test_order_is_that_of_curator(recipe: Recipe) -> None:
    """Curator sorts by the text after the last infix, whatever precedes it; without protection, too."""
    ordered = [
        f"_c_{recipe.infix}9-{recipe.infix}-2147483647",
        f"{recipe.infix}-2147483648",
        f"{recipe.infix}0000000000",
        f"_c_zz-{recipe.infix}0000000009",
        f"_c_aa-{recipe.infix}0000000010",
        f"_c_00-{recipe.infix}2147483647",
    ]
    assert sorted(ordered, key=lambda name: name.rpartition(recipe.infix)[2]) == ordered
    for names in permutations(ordered):
        assert recipe.sorted_claims([*names, "folder", f"{recipe.infix}12"]) == ordered
    for place, name in enumerate(ordered):
        assert recipe.predecessors_of(name, reversed(ordered)) == ordered[:place]
    assert recipe.predecessors_of(ordered[0], ordered[1:]) is None
