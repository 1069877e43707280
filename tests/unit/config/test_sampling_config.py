"""Shares of corpora: normalised, and refused in one line."""

import pytest

from musicgen_core.config.load import ConfigError, from_json, parse_config, resolve_runs, to_json
from musicgen_core.config.sampling import SamplingConfig, normalise_mix

CORPORA = {"corpora": {"rock": {"path": "a"}, "jazz": {"path": "b"}}}


def test_shares_sum_to_one_in_the_order_of_the_corpora() -> None:
    assert normalise_mix({"jazz": 3, "rock": 1}, ["rock", "jazz"]) == {"rock": 0.25, "jazz": 0.75}
    assert list(normalise_mix({"jazz": 3, "rock": 1}, ["rock", "jazz"])) == ["rock", "jazz"]


def test_runs_may_have_a_mix_of_their_own() -> None:
    mix = {"rock": 0.7, "jazz": 0.3}
    runs = {"base": {}, "mixed": {"training": {"sampling": {"by": "duration", "mix": mix}}}}
    base, mixed = resolve_runs(parse_config({**CORPORA, "runs": runs})).values()
    assert base.training.sampling == SamplingConfig()
    assert mixed.training.sampling == SamplingConfig(by="duration", mix=mix)
    assert from_json(SamplingConfig, to_json(mixed.training.sampling)) == mixed.training.sampling


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"mix": {"rok": 1, "jazz": 1}}, "sampling.mix: unknown corpus `rok`; did you mean `rock`?"),
        ({"mix": {"rock": 1}}, "sampling.mix: no share for corpus `jazz`; give it one (0 leaves it out)"),
        ({"mix": {"rock": -1, "jazz": 1}}, "sampling.mix.rock: -1.0 must be 0 or more"),
        ({"mix": {"rock": 0, "jazz": 0}}, "sampling.mix: the shares sum to 0.0; at least one must be above 0"),
        ({"mix": {"rock": "much", "jazz": 0}}, "sampling.mix.rock: "),
        ({"replacement": False}, "sampling.by: weight needs replacement: true; without it every track comes equally"),
        ({"by": "artist"}, "sampling.by: "),
        ({"bye": "track"}, "sampling: unknown key `bye`; did you mean `by`?"),
    ],
)
def test_mistakes_are_named(sampling: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**CORPORA, "training": {"sampling": sampling}})
    assert str(caught.value).startswith(f"training.{message}")
    with pytest.raises(ConfigError) as caught:
        parse_config({**CORPORA, "runs": {"r": {"training": {"sampling": sampling}}}})
    assert str(caught.value).startswith(f"runs.r.training.{message}")


def test_a_mix_is_of_the_runs_own_corpora() -> None:
    run = {"corpora": ["jazz"], "training": {"sampling": {"mix": {"rock": 1, "jazz": 1}}}}
    with pytest.raises(ConfigError, match=r"runs\.r\.training\.sampling\.mix: unknown corpus `rock`"):
        parse_config({**CORPORA, "runs": {"r": run}})
