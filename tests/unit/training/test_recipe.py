"""The recipe's numbers: the article's by default, and what follows from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.errors import BadRequest
from coordsvc.training.recipe import PRESETS, Preset, Recipe, chosen


def test_the_defaults_are_the_articles() -> None:
    recipe = chosen(Preset.RECIPE)
    assert (recipe.epochs, recipe.learning_rate, recipe.batch) == (5, 2e-5, 16)
    assert (recipe.accumulation, recipe.seed, recipe.quantise) == (16, 2024, "nf4")
    assert recipe == Recipe()


def test_what_the_command_says_lies_over_the_preset() -> None:
    recipe = chosen(Preset.LAPTOP, ["batch=1"])
    assert recipe.batch == 1
    assert recipe.seed == PRESETS[Preset.LAPTOP].seed
    assert recipe.fingerprint() != PRESETS[Preset.LAPTOP].fingerprint()


def test_a_wrong_number_is_named_with_what_it_is() -> None:
    with pytest.raises(BadRequest, match=r"batch: .*greater than or equal to 1 \(it is '0'\)"):
        chosen(Preset.RECIPE, ["batch=0"])
    with pytest.raises(BadRequest, match=r"quantise: .*'nf4' or 'none'"):
        chosen(Preset.RECIPE, ["quantise=int3"])
    with pytest.raises(BadRequest, match="--set 8: a name, an equals sign and a value"):
        chosen(Preset.RECIPE, ["8"])


def test_steps_count_the_last_ones_of_an_epoch_that_are_not_full() -> None:
    recipe = Recipe(epochs=5, batch=16, accumulation=16)
    assert recipe.steps_an_epoch(256) == 1
    assert recipe.steps_an_epoch(257) == 2
    assert recipe.steps(257) == 10
    assert Recipe(epochs=5, steps_max=3).steps(257) == 3


@given(steps=st.integers(1, 300), warmup=st.floats(0, 1))
def test_the_rate_is_never_nothing_and_never_above_its_highest(steps, warmup) -> None:
    recipe = Recipe(warmup_share=warmup, learning_rate=1e-3)
    rates = [recipe.rate(step, steps) for step in range(steps)]
    assert all(0 < rate <= 1e-3 for rate in rates)


def test_the_rate_grows_then_falls() -> None:
    recipe = Recipe(warmup_share=0.2)
    rates = [recipe.rate(step, 20) for step in range(20)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < top < 19
