"""The same numbers wherever a pass is computed, and whoever dies on the way."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from astrogf.base.errors import AstrogfError
from astrogf.computing.options import ComputeOptions
from astrogf.computing.place import place_of
from astrogf.computing.processes import Processes, core_sets
from astrogf.config import parse
from astrogf.inference.blocks.places import HERE, Place
from astrogf.inference.blocks.shelf import MEMORY, Shelf
from astrogf.inference.blocks.work import Work
from astrogf.inference.newton.joint import Joint
from astrogf.inference.newton.passed import Pass
from astrogf.inference.newton.stars import FitState
from astrogf.inference.newton.sweep import sweep
from astrogf.inference.problem.parameters import lsf_sigma
from astrogf.inference.problem.problem import StarData
from astrogf.inference.problem.spectra import Sample, in_blocks, quiet
from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw
from astrogf.inference.solvers.svi import fit_svi
from astrogf.runs.shelf import FolderShelf

N_STAR, BLOCK = 16, 4
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def small() -> Small:
    """In double precision throughout: what is in single precision rounds otherwise on another number of cores."""
    return build(N_STAR, 4, n_pixel=24, kept=40, options=OPTIONS.changed(model={"single": False}))


@pytest.fixture(scope="module")
def drawn(small: Small) -> Draw:
    return draw(small, np.random.default_rng(5), snr=80.0)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with place_of(ComputeOptions(where="processes", workers=2), tmp_path_factory.mktemp("shared")) as place:
        yield place


@pytest.fixture(scope="module")
def dask_cluster():
    """Two workers of two threads on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ) as cluster:
        yield cluster


def cut(small: Small, drawn: Draw, place: Place, shelf: Shelf, block: int = BLOCK) -> Sample:
    whole = small.sample(drawn.data)

    def data(k: int, rows: np.ndarray) -> StarData:
        return StarData(*(np.asarray(x)[rows] for x in drawn.data))  # type: ignore[arg-type]

    return in_blocks(whole.windows, whole.prior, Work(place, shelf, block), data)


def at_list(small: Small) -> jnp.ndarray:
    return jnp.zeros(small.n_line + 1).at[-1].set(lsf_sigma(small.options.stars.resolution))


def passed(small: Small, drawn: Draw, place: Place, shelf: Shelf = MEMORY, progress=lambda *_: None) -> Pass:
    sample = cut(small, drawn, place, shelf)
    return sweep(sample, jnp.asarray(drawn.theta), at_list(small), small.quiet(), chunk=BLOCK, progress=progress)


def assert_same(one: Pass, other: Pass) -> None:
    for name in ("log_posterior", "chi2", "own_sd"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-8, err_msg=name)
    for a, b in zip(one.reduced, other.reduced, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8 * np.abs(b).max())
    np.testing.assert_allclose(one.rows[0].adjusted, other.rows[0].adjusted, rtol=1e-8)
    step = np.linspace(-0.1, 0.1, len(one.reduced.gradient))
    np.testing.assert_allclose(one.own_step(step), other.own_step(step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kept", ["memory", "folder"])
def test_processes_compute_what_this_one_does(small: Small, drawn: Draw, processes: Place, tmp_path, kept) -> None:
    shelf = MEMORY if kept == "memory" else FolderShelf(tmp_path)
    done = list[int]()
    there = passed(small, drawn, processes, shelf, lambda n, of: done.append(n))
    assert_same(there, passed(small, drawn, HERE))
    assert done == [4, 8, 12, 16]


def test_a_worker_killed_in_a_pass_is_replaced_and_changes_no_bit(
    small: Small, drawn: Draw, processes: Place, tmp_path
) -> None:
    left_alone = passed(small, drawn, processes, FolderShelf(tmp_path / "alone"))
    before = {p.pid for p in multiprocessing.active_children()}
    assert len(before) == 2

    def kill(done: int, of: int) -> None:
        if done == BLOCK:
            os.kill(min(before), signal.SIGKILL)

    killed = passed(small, drawn, processes, FolderShelf(tmp_path / "killed"), kill)
    after = {p.pid for p in multiprocessing.active_children()}
    assert min(before) not in after
    assert_identical(killed, left_alone)


def assert_identical(one: Pass, other: Pass) -> None:
    for name in ("log_posterior", "chi2", "own_sd"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for a, b in zip(one.reduced, other.reduced, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.star.slope, other.star.slope)


def die(common: Path, task: int, advance) -> int:
    """Task 2 kills its worker in its midst as often as there are files to be taken away."""
    left = sorted(common.glob("*"))
    if task == 2 and left:
        left[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    advance(1)
    return task * task


def test_a_task_whose_worker_dies_is_done_again(processes: Place, tmp_path) -> None:
    (tmp_path / "once").touch()
    counted = list[int]()
    assert list(processes.map(die, tmp_path, range(5), counted.append)) == [0, 1, 4, 9, 16]
    assert counted == [1] * 5


def test_a_task_whose_worker_dies_always_is_given_up_with_a_sentence(processes: Place, tmp_path) -> None:
    for i in range(9):
        (tmp_path / str(i)).touch()
    with pytest.raises(AstrogfError, match=r"died 3 times.*--resume") as error:
        list(processes.map(die, tmp_path, range(5)))
    assert error.value.reason == "worker"
    assert list(processes.map(die, tmp_path / "none", range(3))) == [0, 1, 4]  # the place is still of use


def refuse(common: None, task: int, advance) -> int:
    raise AstrogfError("this sentence is for the user", "code")


def test_what_a_worker_raises_is_raised_here(processes: Place) -> None:
    with pytest.raises(AstrogfError, match="this sentence is for the user") as error:
        list(processes.map(refuse, None, range(3)))
    assert error.value.reason == "code"


def cores_and_devices(common: None, task: int, advance) -> tuple[int, int]:
    import jax

    return len(os.sched_getaffinity(0)), jax.device_count()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not say which cores there are")
def test_jax_in_a_worker_has_the_cores_of_the_worker(processes: Place) -> None:
    wanted = {len(cores) for cores in core_sets(2)}
    assert {seen for seen in processes.map(cores_and_devices, None, range(4))} <= {(n, n) for n in wanted}


def test_cores_are_shared_out() -> None:
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    for n in (1, len(mine), len(mine) + 2):
        sets = core_sets(n)
        assert len(sets) == n
        assert all(sets)
        assert sorted({core for cores in sets for core in cores}) == mine


def test_workers_end_when_their_place_is_closed(tmp_path) -> None:
    place = Processes(1, tmp_path)
    assert list(place.map(die, tmp_path / "none", [1])) == [1]
    running = place.pids
    assert len(running) == 1
    place.close()
    assert not any(pid in {p.pid for p in multiprocessing.active_children()} for pid in running)
    assert not list(tmp_path.glob("*"))


def test_dask_workers_compute_what_this_one_does(small: Small, drawn: Draw, dask_cluster, tmp_path) -> None:
    with place_of(ComputeOptions(where="dask", scheduler=dask_cluster.scheduler_address), tmp_path) as place:
        there = passed(small, drawn, place, FolderShelf(tmp_path / "shelf"))
        assert_same(there, passed(small, drawn, HERE))
        assert {seen[1] for seen in place.map(cores_and_devices, None, range(4))} == {1}


def test_a_dask_worker_killed_in_a_pass_changes_no_bit(small: Small, drawn: Draw, dask_cluster, tmp_path) -> None:
    with place_of(ComputeOptions(where="dask", scheduler=dask_cluster.scheduler_address), tmp_path) as place:
        left_alone = passed(small, drawn, place, FolderShelf(tmp_path / "alone"))
        pids = place.client.run(os.getpid)  # type: ignore[attr-defined]

        def kill(done: int, of: int) -> None:
            if done == BLOCK:
                os.kill(min(pids.values()), signal.SIGKILL)

        killed = passed(small, drawn, place, FolderShelf(tmp_path / "killed"), kill)
        assert_identical(killed, left_alone)


def test_a_scheduler_that_is_not_there(monkeypatch, tmp_path) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("astrogf.computing.cluster.PATIENCE", 1)
    options = ComputeOptions(where="dask", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(AstrogfError, match=r"nothing answers at tcp://127\.0\.0\.1:1"), place_of(options, tmp_path):
        pass


def test_without_dask_a_sentence_says_what_to_install(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "astrogf.computing.cluster", raising=False)
    options = ComputeOptions(where="dask", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(AstrogfError, match=r"pip install 'astrogf\[cluster\]'"), place_of(options, tmp_path):
        pass


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"where": "dask"}, r"\[compute\] scheduler: missing"),
        ({"where": "here", "scheduler": "tcp://a:1"}, r"\[compute\] scheduler: where = 'here' has none"),
        ({"workers": 4}, r"\[compute\] workers: is of where = 'processes'"),
        ({"where": "cluster"}, r"\[compute\] where: expected"),
    ],
)
def test_what_does_not_agree_is_said_beforehand(said: dict, text: str) -> None:
    with pytest.raises(AstrogfError, match=text):
        parse({"compute": said}, "my.toml")


class Counting:
    """A place, and how many tasks each of its maps had."""

    def __init__(self, place: Place) -> None:
        self.place, self.tasks = place, list[int]()

    def map(self, function, common, tasks, advance=lambda done: None):
        self.tasks.append(len(tasks))
        return self.place.map(function, common, tasks, advance)

    def close(self) -> None:
        self.place.close()


def by_svi(small: Small, drawn: Draw, place: Place, shelf: Shelf = MEMORY) -> Joint:
    """Two epochs of two minibatches, each of several blocks, with slopes of lines and noise that is learned."""
    options = small.options.changed(
        noise={"inflation": None, "line_drift": 0.05},
        solver={"method": "svi", "chunk": 2, "batch": N_STAR // 2, "joint_iterations": 2},
    )
    sample = cut(small, drawn, place, shelf, block=2)
    run = FitState(jnp.asarray(drawn.theta), at_list(small), quiet(sample, 0.01))
    return fit_svi(sample, run, small.groups, options)


def test_svi_gives_its_minibatches_to_dask_workers_and_ends_with_the_same_numbers(
    small: Small, drawn: Draw, dask_cluster, tmp_path
) -> None:
    here = by_svi(small, drawn, HERE)
    options = ComputeOptions(where="dask", scheduler=dask_cluster.scheduler_address)
    with place_of(options, tmp_path / "shared") as place:
        counting = Counting(place)
        there = by_svi(small, drawn, counting, FolderShelf(tmp_path / "shelf"))
    assert sum(one["stage"] == "svi" for one in there.run.trace) == 4
    assert len(counting.tasks) > 4
    assert min(counting.tasks) == 4  # a minibatch is a task for either worker, and more
    sd = np.sqrt(np.diag(np.asarray(here.posterior.covariance)))
    assert np.abs(here.run.shared - at_list(small)).max() > sd.min()
    np.testing.assert_allclose(there.posterior.mean, here.posterior.mean, rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(there.posterior.covariance, here.posterior.covariance, rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(there.run.theta, here.run.theta, rtol=1e-8, atol=1e-8)
    assert here.run.drift is not None
    assert there.run.drift is not None
    np.testing.assert_allclose(there.run.drift.slope, here.run.drift.slope, rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(there.run.noise[0].inflation, here.run.noise[0].inflation, rtol=1e-8)
    for one, other in zip(there.run.trace, here.run.trace, strict=True):
        assert one.get("elbo") == pytest.approx(other.get("elbo"), abs=1e-6)
