"""Many clients that poll one job while it runs: how long answers take, and whether any is missing.

    python tests/benchmarks/pollers.py [--pollers 500] [--seconds 10] [--pause 1.0] [--tls]

Starts a server with one worker and a classification that keeps it busy. The pollers live in a process of their own,
one connection each that is kept open, as ArcGIS clients do; each waits `pause` seconds after an answer. They share the
machine with server and worker. Prints one line of figures, and what a submit takes meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
from live_server import LiveServer, until
from strips import write_strip
from tiny_models import write_package

TARGET_P99_MS = 250
FORM = {
    "inputRaster": "/rasterStores/s/strip.tif",
    "outputClassifiedRaster": "polled",
    "model": "/fileShares/s/slow.dlpk",
    "modelArguments": {"batch_size": "1"},
    "context": {"precision": "fp32"},
}


@dataclass
class Tally:
    """What the pollers saw."""

    took_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Crowd:
    """Pollers of one job."""

    job: str
    token: str
    count: int
    seconds: float
    pause_s: float
    certificate: Path | None

    async def poll(self) -> Tally:
        """Let all poll until the time is up; they begin spread over one pause."""
        tally, end_s = Tally(), time.perf_counter() + self.seconds + self.pause_s
        await asyncio.gather(*(self._one(tally, end_s, index / self.count) for index in range(self.count)))
        return tally

    async def _one(self, tally: Tally, end_s: float, share: float) -> None:
        await asyncio.sleep(self.pause_s * share)
        where = urlsplit(self.job)
        context = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        request = (
            f"GET {where.path}?f=json HTTP/1.1\r\nHost: {where.netloc}\r\n"
            f"X-Esri-Authorization: Bearer {self.token}\r\n\r\n"
        ).encode()
        try:
            reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
            while time.perf_counter() < end_s:
                began = time.perf_counter()
                writer.write(request)
                document = await asyncio.wait_for(_read_answer(reader), 30)
                tally.took_ms.append(1000 * (time.perf_counter() - began))
                if document.get("jobStatus") not in ("esriJobSubmitted", "esriJobExecuting", "esriJobSucceeded"):
                    tally.errors.append(f"the job is {document}")
                await asyncio.sleep(self.pause_s)
            writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            tally.errors.append(f"{type(error).__name__}: {error}")


async def _read_answer(reader: asyncio.StreamReader) -> dict[str, object]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if not head.startswith("http/1.1 200"):
        raise ValueError(head.partition("\r\n")[0])
    length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:"))
    document: dict[str, object] = json.loads(await reader.readexactly(int(length)))
    return document


def run_crowd(crowd: Crowd) -> None:
    """Poll in this process and print the tally as JSON."""
    tally = asyncio.run(crowd.poll())
    print(json.dumps({"took_ms": tally.took_ms, "errors": tally.errors}))


def main() -> None:
    """Start what is needed, let the crowd poll, print the figures."""
    options = _parse()
    if options.job:
        run_crowd(_crowd(options))
        return
    with tempfile.TemporaryDirectory(prefix="pollers-") as folder:
        server = LiveServer(Path(folder), http=not options.tls)
        server.store.mkdir()
        write_package(server.store / "slow.dlpk", layers=2)
        write_strip(server.store / "strip.tif", 4 + int(options.seconds))
        server.start()
        try:
            _measure(server, options)
        finally:
            server.stop()


def _measure(server: LiveServer, options: argparse.Namespace) -> None:
    client = server.client()
    job = client.submit("ClassifyPixelsUsingDeepLearning", FORM)
    until(lambda: server.files(job) or client.get(job)["jobStatus"] == "esriJobFailed")
    command = [sys.executable, __file__, *sys.argv[1:], f"--job={job}", f"--token={client.token}"]
    command += ["--certificate", str(server.certificate)] if server.certificate else []
    submits_ms = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
        while crowd.poll() is None and len(submits_ms) < 5 * options.seconds:
            began = time.perf_counter()
            client.submit("ListDeepLearningModels", {})
            submits_ms.append(1000 * (time.perf_counter() - began))
            time.sleep(0.2)
        output, _ = crowd.communicate()
    tally = Tally(**json.loads(output))
    state = client.get(job)
    client.cancel(job)
    client.wait(job)
    _print(tally, submits_ms, options)
    print(f"the job was {state['jobStatus']} at {state['progress']['percent']} %; load {os.getloadavg()[0]:.1f}")


def _print(tally: Tally, submits_ms: list[float], options: argparse.Namespace) -> None:
    p50, p99 = _percentiles(tally.took_ms)
    rate = len(tally.took_ms) / (options.seconds + options.pause)
    print(
        f"{options.pollers} pollers, {len(tally.took_ms)} answers, {rate:.0f}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms "
        f"(target {TARGET_P99_MS}), longest {max(tally.took_ms):.0f} ms, {len(tally.errors)} errors"
    )
    for error in sorted(set(tally.errors))[:5]:
        print(f"  {error}")
    p50, p99 = _percentiles(submits_ms)
    print(f"{len(submits_ms)} submits meanwhile: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def _percentiles(values: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _crowd(options: argparse.Namespace) -> Crowd:
    return Crowd(
        job=options.job,
        token=options.token,
        count=options.pollers,
        seconds=options.seconds,
        pause_s=options.pause,
        certificate=options.certificate,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pollers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between an answer and the next question")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
