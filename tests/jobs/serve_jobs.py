"""A server for the tests to kill: a dispatcher with process slots on a data folder.

    python serve_jobs.py DATA STAGE [COUNT]

With a COUNT it submits one job. It prints the slots' process ids, then the job's id. `KILL_AT=finish:before` in the
environment has it kill itself when it is about to call the store's `finish`, `finish:after` when that is done;
`publish` is the portal's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from counting import TOOLS
from memory_portal import MemoryPortal

from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.store import Store


def set_trap(thing: Store | MemoryPortal, name: str, moment: str) -> None:
    call = getattr(thing, name)

    def trapped(*arguments: object) -> object:
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        call(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(thing, name, trapped)


data, stage = Path(sys.argv[1]), sys.argv[2]
store, portal = Store.open(data / "jobs.db"), MemoryPortal()
name, _, moment = os.environ.get("KILL_AT", "").partition(":")
if name:
    set_trap(portal if name == "publish" else store, name, moment)
executor = ProcessExecutor("counting:open_bench", [{}, {}])
dispatcher = Dispatcher(TOOLS, store, executor, portal, data)
dispatcher.start()
while len(executor.pids) < 2:
    time.sleep(0.01)
print(*executor.pids, flush=True)
for count in sys.argv[3:]:
    print(dispatcher.submit("Count", {"count": count, "stage": stage}, "ann").id, flush=True)
time.sleep(120)
