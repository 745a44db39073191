"""Memory and latency of a running server, sampled while others work on it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests

from fewsam.core.processes import ServerProcess

MEGABYTE = 1 << 20


class Gauges:
    """Two threads: one asks for ``/info/``, one reads the memory of the server and of what it started.

    Attributes:
        memory: Rows of (seconds, resident, anonymous, resident of its training processes), in bytes. Resident counts
            the pages of the embedding cache that the system keeps mapped and can drop; anonymous does not.
        latencies: Seconds that each ``/info/`` took.
        failures: What ``/info/`` answered otherwise.
    """

    def __init__(self, site: ServerProcess, every: float = 0.5) -> None:
        self.site, self.every = site, every
        self.memory: list[tuple[float, int, int, int]] = []
        self.latencies: list[float] = []
        self.failures: list[str] = []
        self._began = time.monotonic()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._ask, self._weigh)]

    def __enter__(self) -> Gauges:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        session = requests.Session()
        while not self._over.is_set():
            began = time.monotonic()
            try:
                answer = session.get(f"{self.site.url}/info/", timeout=120)
                self.latencies.append(time.monotonic() - began)
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code}: {answer.text[:200]}")
            except requests.RequestException as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self._over.wait(self.every)

    def _weigh(self) -> None:
        assert self.site.process is not None
        server = psutil.Process(self.site.process.pid)
        while not self._over.is_set():
            training = 0
            for process in server.children(recursive=True):
                try:
                    training += process.memory_info().rss
                except psutil.Error:
                    continue
            resident = server.memory_info().rss
            self.memory.append((time.monotonic() - self._began, resident, anonymous(server.pid), training))
            self._over.wait(1.0)

    def summary(self) -> dict[str, Any]:
        """Percentiles of the latencies (s), and memory (MB) with its slope over the last two thirds (MB a minute)."""
        values: dict[str, Any] = {"info_requests": len(self.latencies), "info_failures": self.failures[:20]}
        if self.latencies:
            p50, p99 = np.percentile(self.latencies, [50, 99])
            values |= {"info_p50": round(float(p50), 4), "info_p99": round(float(p99), 4)}
            values["info_worst"] = round(max(self.latencies), 4)
        if len(self.memory) > 2:
            seconds, resident, own, training = (np.array(column, float) for column in zip(*self.memory, strict=True))
            late = seconds >= seconds[-1] / 3
            values |= {
                "resident_mb_peak": round(resident.max() / MEGABYTE),
                "anonymous_mb_peak": round(own.max() / MEGABYTE),
                "anonymous_mb_at_a_third": round(float(np.median(own[late][:10])) / MEGABYTE),
                "anonymous_mb_at_the_end": round(float(np.median(own[-10:])) / MEGABYTE),
                "anonymous_mb_per_minute": round(float(np.polyfit(seconds[late], own[late], 1)[0]) * 60 / MEGABYTE, 2),
                "training_mb_peak": round(training.max() / MEGABYTE),
            }
        return values

    def plot(self, path: Path, title: str) -> None:
        """Memory over time as PNG."""
        from matplotlib.figure import Figure

        seconds, *columns = zip(*self.memory, strict=True)
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        names = ("server, resident (with the cache's pages)", "server, anonymous", "training processes, resident")
        for name, column in zip(names, columns, strict=True):
            axes.plot(np.array(seconds) / 60, np.array(column) / MEGABYTE, label=name)
        axes.set(xlabel="minutes", ylabel="MB", title=title, ylim=(0, None))
        axes.legend()
        axes.grid(alpha=0.3)
        figure.savefig(path, dpi=110)


def anonymous(pid: int) -> int:
    """Bytes that belong to a process alone and to no file (Linux); elsewhere all resident ones."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(psutil.Process(pid).memory_info().rss)
