"""A joint fit with the widths of the prior and the lines' classes integrated over."""

import time
from dataclasses import replace

from astrogf.inference.newton.joint import Joint, SharedPrior
from astrogf.inference.newton.stars import bounded_step, keep_physical
from astrogf.inference.prior.scatters import integrate


def over_scatters(joint: Joint, prior: SharedPrior) -> Joint:
    """The joint fit with the posterior that the widths' uncertainty leaves: corrections, and labels moved along.

    The models and (A, b) stay those of the joint maximum. Where the integral is not finite the fit comes back as it
    was, and its status says so.
    """
    began = time.perf_counter()
    run, passed = joint.run, joint.passed
    try:
        system = prior.system(passed.reduced, run.shared)
        posterior, said = integrate(system, prior.belief, joint.learned, run.shared)
    except FloatingPointError as error:
        run.trace.append({"stage": "scatters", "status": str(error), "seconds": time.perf_counter() - began})
        return joint._replace(status=f"{joint.status}; widths of the prior not integrated over: {error}")
    step = bounded_step(passed.own_step(posterior.mean - run.shared))
    run.trace.append({"stage": "scatters", **said, "seconds": time.perf_counter() - began})
    return joint._replace(run=replace(run, theta=keep_physical(run.theta + step)), posterior=posterior)
