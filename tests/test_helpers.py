"""Work shared with other processes: nothing is lost, nothing changes, and nothing is left
behind."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import psutil
import pytest

from nbsrc.helpers import helpers, share


def doubled(number: int) -> tuple[int, int]:
    time.sleep(0.02)
    return os.getpid(), 2 * number


def dies(number: int) -> tuple[int, int]:
    os._exit(1)


def fails(number: int) -> tuple[int, int]:
    raise ValueError(f"number {number}")


@pytest.fixture(scope="module")
def others():
    with helpers(2) as processes:
        for process in processes:
            process.submit(os.getpid).result()
        yield processes


def test_all_results_come_in_order_and_everyone_has_a_share(others):
    results = list(share(range(40), doubled, doubled, others))
    assert [result for _, result in results] == [2 * i for i in range(40)]
    assert len({process for process, _ in results}) == 3


def test_without_helpers_all_is_done_here():
    assert list(share(range(3), doubled, dies, [])) == [(os.getpid(), 2 * i) for i in range(3)]


def test_pieces_are_not_taken_long_before_somebody_is_free(others):
    taken = []
    results = share((taken.append(i) or i for i in range(100)), doubled, doubled, others)
    next(results)
    assert len(taken) < 20
    results.close()


@pytest.mark.parametrize("here, there", [(fails, doubled), (doubled, fails)])
def test_an_error_is_told_wherever_it_happens(here, there, others):
    with pytest.raises(ValueError, match="number"):
        list(share(range(10), here, there, others))


def test_what_a_process_that_died_had_is_done_here():
    with helpers(1) as mortal:
        mortal[0].submit(os.getpid).result()
        results = list(share(range(20), doubled, dies, mortal))
    assert results == [(os.getpid(), 2 * i) for i in range(20)]


def test_a_process_that_died_before_is_done_without():
    with helpers(2) as processes:
        with pytest.raises(BrokenExecutor):
            processes[0].submit(dies, 0).result()
        processes[1].submit(os.getpid).result()
        results = list(share(range(20), doubled, doubled, processes))
    assert [result for _, result in results] == [2 * i for i in range(20)]
    assert len({process for process, _ in results}) == 2


def test_a_process_that_dies_while_it_waits_is_done_without():
    class Dying(ThreadPoolExecutor):
        given = 0

        def submit(self, *args):
            self.given += 1
            if self.given > 3:
                raise BrokenExecutor
            return super().submit(*args)

    with Dying(1) as dying:
        results = list(share(range(20), doubled, doubled, [dying]))
    assert results == [(os.getpid(), 2 * i) for i in range(20)] and dying.given == 4


def test_helpers_end_with_the_process_that_started_them():
    code = (
        "import os, time\nfrom nbsrc.helpers import helpers\n"
        "with helpers(1) as processes:\n    print(processes[0].submit(os.getpid).result(), flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        helper = psutil.Process(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
    helper.wait(timeout=30)
