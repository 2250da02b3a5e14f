"""What is said of a run in words."""

from astrogf.runs.words import unconverged


def test_a_fit_that_stopped_too_early_says_so_and_what_to_do() -> None:
    trace = [
        {"stage": "stars", "largest_step_sd": 2.0},
        {"stage": "joint", "shared_step_sd": 0.164, "star_step_sd": 0.41},
        {"stage": "original list", "largest_step_sd": 0.3},
    ]
    said = unconverged({"status": "max_iterations", "trace": trace})
    assert said is not None
    assert "log gf moved by 0.16 posterior sd, stars by 0.41. Raise [solver] joint_iterations" in said
    assert unconverged({"status": "max_iterations", "trace": []}) is not None
    assert unconverged({"status": "converged", "trace": trace}) is None
