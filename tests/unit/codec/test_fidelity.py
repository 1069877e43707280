import math

import pytest
import torch

from musicgen_core.codec.fidelity import code_usage, log_spectral_distance_db, si_snr_db


def test_si_snr_of_known_noise_and_any_scale() -> None:
    torch.manual_seed(0)
    reference = torch.randn(2, 1, 100_000)
    noisy = reference + 0.1 * torch.randn_like(reference)
    assert si_snr_db(noisy, reference).tolist() == pytest.approx([20.0, 20.0], abs=0.2)
    assert si_snr_db(7.0 * noisy, reference).tolist() == pytest.approx(si_snr_db(noisy, reference).tolist(), abs=1e-3)


def test_log_spectral_distance_of_a_gain_is_that_gain() -> None:
    torch.manual_seed(0)
    reference = torch.randn(1, 1, 50_000)
    assert log_spectral_distance_db(reference, reference).item() == 0.0
    assert log_spectral_distance_db(0.5 * reference, reference).item() == pytest.approx(20 * math.log10(2), abs=0.05)


def test_code_usage_of_a_uniform_and_a_constant_codebook() -> None:
    codes_KT = torch.stack([torch.arange(800) % 8, torch.zeros(800, dtype=torch.int64)])
    uniform, constant = code_usage(codes_KT, 16)
    assert uniform == {"used": 8, "entropy_bits": pytest.approx(3.0), "perplexity": pytest.approx(8.0)}
    assert constant == {"used": 1, "entropy_bits": 0.0, "perplexity": 1.0}
