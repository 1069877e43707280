"""The Fréchet distance against closed forms and against an independent formula."""

import numpy as np
import pytest

from musicgen_core.eval.frechet import Gaussian, fit_gaussian, frechet_distance
from musicgen_core.eval.latents import frechet_figure, split_halves


def gaussian(mean: list[float], covariance: np.ndarray) -> Gaussian:
    return Gaussian(mean_D=np.array(mean), covariance_DD=covariance, num_frames=100)


def random_covariance(seed: int, width: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(width, width))
    return root @ root.T


def test_equal_gaussians_have_distance_zero() -> None:
    a = gaussian([1.0, -2.0, 3.0], random_covariance(0, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_shifted_mean_gives_its_squared_length() -> None:
    covariance = random_covariance(1, 2)
    assert frechet_distance(gaussian([0, 0], covariance), gaussian([3, 4], covariance)) == pytest.approx(25)


def test_diagonal_covariances_give_the_squared_difference_of_deviations() -> None:
    a, b = gaussian([0, 0], np.diag([1.0, 4.0])), gaussian([0, 0], np.diag([9.0, 1.0]))
    assert frechet_distance(a, b) == pytest.approx((1 - 3) ** 2 + (2 - 1) ** 2)


def test_equals_the_formula_by_eigenvalues_of_the_product() -> None:
    a, b = gaussian([0] * 6, random_covariance(2, 6)), gaussian([1] * 6, random_covariance(3, 6))
    roots = np.sqrt(np.linalg.eigvals(a.covariance_DD @ b.covariance_DD).real).sum()
    expected = 6 + np.trace(a.covariance_DD) + np.trace(b.covariance_DD) - 2 * roots
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_are_allowed() -> None:
    frames = np.random.default_rng(4).normal(size=(3, 8))
    fitted = fit_gaussian(frames)
    assert frechet_distance(fitted, fitted) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(fitted, fit_gaussian(frames + 1)) == pytest.approx(8)


def test_grows_with_added_noise() -> None:
    random = np.random.default_rng(5)
    frames = random.normal(size=(500, 4))
    noise = random.normal(size=frames.shape)
    distances = [frechet_distance(fit_gaussian(frames), fit_gaussian(frames + s * noise)) for s in (0, 0.5, 1, 2)]
    assert distances == sorted(distances)
    assert distances[0] < 1e-9 < distances[1]


def test_fit_is_numpys_covariance() -> None:
    frames = np.random.default_rng(6).normal(size=(50, 3)).astype(np.float32)
    np.testing.assert_allclose(fit_gaussian(frames).covariance_DD, np.cov(frames.astype(np.float64).T), rtol=1e-12)


@pytest.mark.parametrize("frames", [np.zeros((1, 3)), np.zeros(5), np.full((4, 2), np.nan)])
def test_what_cannot_be_fitted_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames|finite"):
        fit_gaussian(frames)


def test_different_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 3"):
        frechet_distance(fit_gaussian(np.eye(2)), fit_gaussian(np.eye(3)))


def test_figure_states_frames_and_warns_of_few() -> None:
    pieces = [np.random.default_rng(i).normal(size=(4, 8)) for i in range(2)]
    figure = frechet_figure(pieces, pieces[:1], "Note.")
    assert figure.samples == {"clips": 2, "frames": 8, "reference_frames": 4, "dimensions": 8}
    assert figure.note is not None
    assert "read with care" in figure.note
    assert frechet_figure([], pieces, "Note.").value is None


def test_halves_share_no_track() -> None:
    pieces = [np.full((length, 1), name) for name, length in [(0, 5), (1, 5), (0, 5), (2, 6)]]
    one, other = split_halves(pieces, ["a", "b", "a", "c"])
    assert not {p[0, 0] for p in one} & {p[0, 0] for p in other}
    assert sum(map(len, one)) + sum(map(len, other)) == 21
    alone, rest = split_halves(pieces[:2], ["a", "a"])
    assert len(alone) == len(rest) == 1
