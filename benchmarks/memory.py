"""What a process and all those that it started take of the machine's memory."""

import time

import psutil


def follow_memory(process: psutil.Process, peak: list[float], every: float = 0.2) -> None:
    """Until the process ends: the largest sum over it and all its children, in GiB, into peak[0].

    Proportional set size on Linux, which counts a page that several processes share once; resident
    size elsewhere."""
    while True:
        total = 0
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            members = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for member in members:
            try:
                memory = member.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                pass
        peak[0] = max(peak[0], total / 2**30)
        time.sleep(every)
