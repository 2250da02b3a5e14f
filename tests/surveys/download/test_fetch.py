"""Addresses of public files, and downloads from a server on this machine that misbehaves in every way we know."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from astrogf.cli import app
from astrogf.surveys.download.addresses import KINDS, Target, identifiers_of, targets
from astrogf.surveys.download.fetch import FAILED, MANIFEST, fetch, read_checksums
from astrogf.surveys.formats.readers import read
from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from astrogf.surveys.spectrum import SurveyError


def url(kind, word, **options):
    (target,) = targets(kind, [word], **options)
    return target.urls


def test_addresses_are_those_that_are_in_use():
    """Every address here is quoted in public: SDSS's own help pages, specutils' tests, users' scripts."""
    sas = "https://data.sdss.org/sas/"
    assert url("sdss-lite", "266-51602-1") == (
        sas + "dr17/sdss/spectro/redux/26/spectra/lite/0266/spec-0266-51602-0001.fits",
        sas + "dr17/sdss/spectro/redux/103/spectra/lite/0266/spec-0266-51602-0001.fits",
        sas + "dr17/sdss/spectro/redux/104/spectra/lite/0266/spec-0266-51602-0001.fits",
    )
    path = "spectra/lite/6413/spec-6413-56336-0495.fits"
    assert url("sdss-lite", "6413-56336-495") == (sas + "dr17/eboss/spectro/redux/v5_13_2/" + path,)
    path = "spectra/lite/3586/spec-3586-55181-0001.fits"
    assert url("sdss-lite", "3586-55181-1", release="dr18") == (sas + "dr18/spectro/sdss/redux/v5_13_2/" + path,)
    assert url("sdss-lite", "3586-55181-1", release="DR16") == (sas + "dr16/eboss/spectro/redux/v5_13_0/" + path,)
    assert url("apstar", "apo25m/000+02/2M17335483-2753043") == (
        sas + "dr17/apogee/spectro/redux/dr17/stars/apo25m/000+02/apStar-dr17-2M17335483-2753043.fits",
    )
    assert url("aspcapstar", "lco25m/293-37-C/2M03174068-7748459") == (
        sas + "dr17/apogee/spectro/aspcap/dr17/synspec_rev1/lco25m/293-37-C/aspcapStar-dr17-2M03174068-7748459.fits",
    )
    assert url("mwmstar", "125678") == (sas + "dr19/spectro/astra/0.6.0/spectra/star/56/78/mwmStar-0.6.0-125678.fits",)
    assert url("lamost-lrs", "89907231", release="dr11") == ("https://www.lamost.org/dr11/v2.0/spectrum/fits/89907231",)
    assert url("lamost-mrs", "1", release="dr9") == ("https://www.lamost.org/dr9/v2.0/medspectrum/fits/1",)
    assert url("lamost-lrs", "1", release="dr4") == ("http://dr4.lamost.org/spectrum/fits/1",)
    assert url("lamost-lrs", "1", release="dr12", version="v1.1") == (
        "https://www.lamost.org/dr12/v1.1/spectrum/fits/1",
    )


def test_sdssv_addresses_follow_the_tree():
    """By the templates and functions of sdss-tree 4.1.4 and sdss-access 3.0.11, worked out by hand."""
    root = "https://data.sdss.org/sas/dr18/spectro/boss/redux/v6_0_4/spectra/lite/"
    assert url("sdssv-lite", "15000-59146-4544940698", release="dr18") == (
        root + "15000p/59146/spec-15000-59146-04544940698.fits",
    )
    root = "https://data.sdss.org/sas/dr19/spectro/boss/redux/v6_1_3/spectra/full/"
    assert url("sdssv-full", "15000-59146-4544940698") == (root + "015000/59146/spec-015000-59146-4544940698.fits",)
    root = "https://data.sdss.org/sas/dr20/spectro/boss/redux/v6_2_1/spectra/daily/lite/"
    assert url("sdssv-lite", "101077-59845-27021597775058535", release="dr20", version="v6_2_1") == (
        root + "101XXX/101077/59845/spec-101077-59845-27021597775058535.fits",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_identifier_is_refused(kind):
    for word in ("spam", "1-2-3-4", "a-b-c", "x/y", "-5"):
        with pytest.raises(SurveyError, match=f"is no identifier of {kind}: .* is expected"):
            targets(kind, [word])


def test_releases_that_are_not_known_are_refused():
    with pytest.raises(SurveyError, match="no kind of file"):
        targets("gaia", ["1"])
    with pytest.raises(SurveyError, match="no data release"):
        targets("mwmstar", ["1"], release="latest")
    with pytest.raises(SurveyError, match="version of Astra of dr20 is not known"):
        targets("mwmstar", ["1"], release="dr20")
    with pytest.raises(SurveyError, match="version of dr12 is not known"):
        targets("lamost-lrs", ["1"], release="dr12")
    with pytest.raises(SurveyError, match="MRS begin"):
        targets("lamost-mrs", ["1"], release="dr5")
    with pytest.raises(SurveyError, match="dr17, not in dr16"):
        targets("apstar", ["apo25m/x/y"], release="dr16")


def test_identifiers_from_a_catalogue():
    table = Table({"PLATE": [266, 267], "MJD": [51602, 51608], "FIBERID": [1, 2]})
    assert identifiers_of("sdss-lite", table) == ["266-51602-1", "267-51608-2"]
    stars = Table({"APOGEE_ID": ["2M1 "], "TELESCOPE": ["apo25m"], "FIELD": ["000+02"]})
    assert identifiers_of("apstar", stars) == ["apo25m/000+02/2M1"]
    assert len(targets("lamost-lrs", ["5", " 5", "", "6"])) == 2
    with pytest.raises(SurveyError, match="no column obsid"):
        identifiers_of("lamost-lrs", table)


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes), with Range; `faults` (path -> list of names) are used up request by request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked, self.tags = {}, {}, [], True

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server, path = self.server, self.path
        server.asked.append((path, self.headers.get("Range")))
        faults = server.faults.get(path) or []
        fault = faults.pop(0) if faults else ""
        if fault.isdigit():
            return self.answer(int(fault), b"an error page", {})
        body = server.files.get(path)
        if body is None:
            return self.answer(404, b"not here", {})
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        headers = {"ETag": tag} if server.tags else {}
        status, start = 200, 0
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range") == tag and fault != "norange":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.answer(416, b"", {})
            status = 206
            shown = start + 7 if fault == "wrongrange" else start
            headers["Content-Range"] = f"bytes {shown}-{len(body) - 1}/{len(body)}"
        send = body[start:]
        if fault == "truncated":  # the length of the whole, half of the bytes, and an orderly end
            self.answer(status, send[: len(send) // 2], headers, length=len(send))
            self.close_connection = True
        elif fault == "dropped":
            self.answer(status, send[: len(send) // 2], headers, length=len(send))
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
        elif fault == "page":
            self.answer(200, b"<html>please log in</html>", {})
        else:
            self.answer(status, send, headers)

    def answer(self, status, body, headers, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory):
    seen = observe(np.full(LRS_PIXELS, 500.0), 20.0, np.random.default_rng(1))
    path = tmp_path_factory.mktemp("f") / "a.fits"
    return write_lamost_lrs(path, LRS_FIRST, seen.flux, seen.ivar, ra=1, dec=2, rv=3).read_bytes()


def get(server, folder, *names, **options):
    wanted = [Target(n, n, (f"{server.base}/{n}",)) for n in names]
    return fetch(wanted, folder, **{"pause": 0.01, "timeout": 5, **options})


def test_a_file_comes_whole_is_recorded_and_is_not_fetched_twice(server, spectrum, tmp_path):
    wanted = targets("lamost-lrs", ["101", "102"], release="dr8", base=server.base)
    server.files = {f"/v2.0/spectrum/fits/{n}": spectrum for n in (101, 102)}
    calls = []
    got = fetch(wanted, tmp_path / "d", pause=0.01, progress=lambda *a: calls.append(a))
    assert got.files["identifier"].tolist() == ["101", "102"]
    assert got.files["new"].all()
    assert len(got.failed) == 0
    assert calls[-1] == (2, 2)
    path = tmp_path / "d" / "lamost-lrs-dr8-101.fits"
    assert path.read_bytes() == spectrum
    assert read(path)[0].meta["ra"] == 1
    rows = [json.loads(line) for line in (tmp_path / "d" / MANIFEST).read_text().splitlines()]
    assert {row["sha256"] for row in rows} == {hashlib.sha256(spectrum).hexdigest()}
    asked = len(server.asked)
    again = fetch(wanted, tmp_path / "d")
    assert len(server.asked) == asked
    assert not again.files["new"].any()
    # a file damaged on the disk since is fetched again
    path.write_bytes(spectrum[:-1] + b"x")
    assert fetch(wanted, tmp_path / "d").files["new"].tolist() == [True, False]
    assert path.read_bytes() == spectrum
    # names that begin with a dot are parts, and none is left
    assert sorted(p.name for p in (tmp_path / "d").iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("fault", ["truncated", "dropped"])
def test_a_download_that_breaks_off_goes_on_where_it_was(server, spectrum, tmp_path, fault):
    server.files = {"/a.fits": spectrum}
    server.faults = {"/a.fits": [fault, fault]}
    got = get(server, tmp_path, "a.fits")
    assert len(got.failed) == 0
    assert (tmp_path / "a.fits").read_bytes() == spectrum
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) if r else 0 for _, r in server.asked]
    assert starts[0] == 0 < starts[1] < starts[2] < len(spectrum)


def test_a_download_goes_on_in_the_next_run(server, spectrum, tmp_path):
    server.files = {"/a.fits": spectrum}
    server.faults = {"/a.fits": ["truncated"]}
    got = get(server, tmp_path, "a.fits", tries=1)
    assert got.failed["reason"].tolist() == ["network"]
    assert "broke off after" in got.failed["detail"][0]
    assert not (tmp_path / "a.fits").exists()
    assert get(server, tmp_path, "a.fits", tries=1).files["new"].tolist() == [True]
    assert server.asked[-1][1] == f"bytes={len(spectrum) // 2}-"
    assert (tmp_path / "a.fits").read_bytes() == spectrum


def test_a_file_that_changed_meanwhile_is_not_patched_together(server, spectrum, tmp_path):
    other = bytearray(spectrum)
    other[-5000:] = bytes(5000)
    server.files = {"/a.fits": bytes(other)}
    server.faults = {"/a.fits": ["truncated"]}
    get(server, tmp_path, "a.fits", tries=1)
    server.files = {"/a.fits": spectrum}
    assert len(get(server, tmp_path, "a.fits", tries=1).failed) == 0
    assert (tmp_path / "a.fits").read_bytes() == spectrum


@pytest.mark.parametrize("fault", ["norange", "wrongrange"])
def test_servers_that_do_not_keep_to_the_range(server, spectrum, tmp_path, fault):
    server.files = {"/a.fits": spectrum}
    server.faults = {"/a.fits": ["truncated", fault]}
    assert len(get(server, tmp_path, "a.fits").failed) == 0
    assert (tmp_path / "a.fits").read_bytes() == spectrum


def test_without_a_mark_a_broken_download_begins_anew(server, spectrum, tmp_path):
    server.tags = False
    server.files = {"/a.fits": spectrum}
    server.faults = {"/a.fits": ["truncated"]}
    assert len(get(server, tmp_path, "a.fits").failed) == 0
    assert [r for _, r in server.asked] == [None, None]
    assert (tmp_path / "a.fits").read_bytes() == spectrum


def test_every_failure_has_a_code_and_a_sentence_and_the_others_arrive(server, spectrum, tmp_path):
    names = ("good", "gone", "closed", "broken", "page", "cut", "slow")
    server.files = {f"/{n}": spectrum for n in names if n != "gone"} | {"/cut": spectrum[:20000]}
    server.faults = {"/closed": ["403"], "/broken": ["500"] * 9, "/page": ["page"], "/slow": ["503"]}
    got = get(server, tmp_path, *names, tries=3)
    assert got.files["name"].tolist() == ["good", "slow"]
    reasons = dict(got.failed.iterrows("name", "reason"))
    assert reasons == {
        "gone": "not_found", "closed": "refused", "broken": "server", "page": "damaged", "cut": "damaged"
    }  # fmt: skip
    for detail in got.failed["detail"]:
        assert server.base in detail
        assert detail.endswith(".")
    assert "a web page" in got.failed["detail"][got.failed["name"] == "page"][0]
    # what cannot be mended by asking again is asked for once
    counts = {n: sum(path == f"/{n}" for path, _ in server.asked) for n in names}
    assert counts == {"good": 1, "gone": 1, "closed": 1, "broken": 3, "page": 1, "cut": 1, "slow": 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["good", "slow", MANIFEST, FAILED])
    back = Table.read(tmp_path / FAILED, format="ascii.ecsv")
    assert back["reason"].tolist() == got.failed["reason"].tolist()


def test_nobody_listens(tmp_path):
    with Server() as silent:
        base = silent.base
    got = fetch([Target("a", "a", (f"{base}/a",))], tmp_path, tries=2, pause=0.01)
    assert got.failed["reason"].tolist() == ["network"]


def test_the_next_address_is_tried_only_where_the_file_is_not(server, spectrum, tmp_path):
    server.files = {"/b": spectrum}
    urls = tuple(f"{server.base}/{n}" for n in "abc")
    got = fetch([Target("x", "x.fits", urls)], tmp_path, pause=0.01)
    assert got.files["url"].tolist() == [urls[1]]
    assert [path for path, _ in server.asked] == ["/a", "/b"]


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_checksums_that_were_given(server, spectrum, tmp_path, kind):
    server.files = {"/a.fits": spectrum, "/b.fits": spectrum}
    right, wrong = getattr(hashlib, kind)(spectrum).hexdigest(), getattr(hashlib, kind)(b"").hexdigest()
    (tmp_path / "sums").write_text(f"# made by hand\n{right}  a.fits\n{wrong} *lite/0266/b.fits\n\n")
    got = get(server, tmp_path / "d", "a.fits", "b.fits", checksums=read_checksums(tmp_path / "sums"))
    assert got.files["name"].tolist() == ["a.fits"]
    assert got.failed["reason"].tolist() == ["checksum"]
    assert not (tmp_path / "d" / "b.fits").exists()
    (tmp_path / "sums").write_text("spam a.fits\n")
    with pytest.raises(SurveyError, match="line 1"):
        read_checksums(tmp_path / "sums")


def test_a_manifest_cut_off_by_a_kill_is_read_and_mended(server, spectrum, tmp_path):
    server.files = {"/a.fits": spectrum, "/b.fits": spectrum}
    get(server, tmp_path, "a.fits")
    raw = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(raw + raw[:30])
    get(server, tmp_path, "b.fits")
    again = get(server, tmp_path, "a.fits", "b.fits")
    assert not again.files["new"].any()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SurveyError, match="cannot be used as a folder"):
        fetch([], tmp_path / "file")


def astrogf(*arguments):
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [str(a) for a in arguments])


def test_the_command(server, spectrum, tmp_path):
    server.files = {"/v2.0/spectrum/fits/7": spectrum}
    Table({"ObsID": [7, 8]}).write(tmp_path / "catalogue.csv")
    given = ("--out", tmp_path / "d", "--base", server.base, "--tries", 1)
    result = astrogf("fetch", "lamost-lrs", 7, *given)
    assert result.exit_code == 0, result.output
    assert "1 of 1 files" in result.output
    assert (tmp_path / "d" / "lamost-lrs-dr8-7.fits").read_bytes() == spectrum
    result = astrogf("fetch", "lamost-lrs", "--table", tmp_path / "catalogue.csv", *given)
    assert result.exit_code == 1
    assert "1 of 2 files" in result.output
    assert "not_found" in result.output
    result = astrogf("fetch", "mwmstar", 125678, "--list")
    assert result.output.strip().endswith("spectra/star/56/78/mwmStar-0.6.0-125678.fits")
    result = astrogf("fetch", "lamost-lrs", "spam")
    assert result.exit_code == 2
    assert "OBSID is expected" in result.stderr
    assert "No identifier" in astrogf("fetch", "lamost-lrs").stderr
