"""One measurement in a process of its own: a library's threads, allocator and failures stay there, and its memory can
be read off the kernel."""
import ctypes
import gc
import os
import resource
import signal
import statistics
import time
from multiprocessing import Pipe

OUT_OF_MEMORY, ENDED = "out of memory", "ended by the system, most likely out of memory"


class Limits:
    """seconds: what a single call may take; compile_seconds: what a first call may take on top; budget: what the
    repeated calls of a line may."""

    def __init__(self, seconds, compile_seconds, budget, memory_bytes):
        self.seconds, self.compile_seconds = seconds, compile_seconds
        self.budget, self.memory_bytes = budget, memory_bytes


def available_bytes():
    for line in open("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def _status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


class HostMemory:
    """The process's memory: what is in use at its peak beyond what was in use at the start."""

    def start(self):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator kept of earlier calls would hide what this one needs
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        self.before = _status("VmRSS")

    def extra(self):
        return max(0, _status("VmHWM") - self.before)


def peak_over(body, memory):
    """Seconds that body takes and bytes that it has in use at its peak beyond those before it."""
    memory.start()
    start = time.perf_counter()
    answer = body()
    seconds = time.perf_counter() - start
    return answer, seconds, memory.extra()


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _work(make, pipe, limits, compiles):
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    try:
        call, read, *given = make()
        memory = given[0] if given else HostMemory()
        result, first_s, extra = peak_over(call, memory)
        pipe.send(("answer", read(result)))
        del result
        if not pipe.recv():
            return
        samples = [first_s]
        if first_s < 5 or compiles:
            call, read = make()[:2]
            second_s, extra = peak_over(call, memory)[1:]  # the first call also loaded, compiled and started threads
            calls = min(200, max(5 if second_s < 2 else 0, int(limits.budget / second_s)))
            samples = [_timed(call) for _ in range(calls)] or [second_s]
        pipe.send(("times", samples, extra))
    except MemoryError:
        pipe.send(("failed", OUT_OF_MEMORY))
    except BaseException as error:
        text = str(error).strip()
        signs = ("allocate memory", "not enough memory", "bad_alloc", "OUT_OF_MEMORY", "out of memory")
        memory = any(words in text for words in signs)
        first_line = (text.splitlines() or [type(error).__name__])[0]
        pipe.send(("failed", OUT_OF_MEMORY if memory else "failed: " + first_line[:160]))


class _Child:
    """body(pipe) in a forked process, which ends with this."""

    def __init__(self, body):
        self.pipe, theirs = Pipe()
        self.id = os.fork()
        if self.id == 0:
            try:
                os.setsid()
                self.pipe.close()
                body(theirs)
            finally:
                os._exit(0)
        theirs.close()

    def receive(self, seconds):
        if not self.pipe.poll(seconds):
            raise TimeoutError
        return self.pipe.recv()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pipe.close()
        try:
            os.killpg(self.id, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.id, 0)


def run(make, limits, check, compiles=False):
    """make() gives (call, read), see works.py; a third value is the memory to watch, HostMemory() without it.
    check(answer) says "" or what is wrong, before anything is timed. compiles: a first call takes much longer."""
    over = {"status": f"over {limits.seconds:.0f} s"}
    with _Child(lambda pipe: _work(make, pipe, limits, compiles)) as child:
        try:
            kind, *rest = child.receive(limits.seconds + 2 + (limits.compile_seconds if compiles else 0))
            if kind == "failed":
                return {"status": rest[0]}
            wrong = check(rest[0])
            child.pipe.send(not wrong)
            if wrong:
                return {"status": "another answer: " + wrong}
            kind, *rest = child.receive(4 * limits.seconds + 60)
            if kind == "failed":
                return {"status": rest[0]}
            samples, extra = rest
            median = statistics.median(samples)
            if median > limits.seconds:
                return over
            return {
                "status": "ok",
                "median_s": median,
                "fastest_s": min(samples),
                "calls": len(samples),
                "extra_bytes": extra,
            }
        except TimeoutError:
            return over
        except EOFError:
            return {"status": ENDED}


def _reason(error):
    return "failed: " + (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def each(body, seconds):
    """What body() yields within so many seconds, and how it ended: "ok", or why there is no more."""
    values, end = [], time.monotonic() + seconds

    def work(pipe):
        try:
            for value in body():
                pipe.send(("answer", value))
            pipe.send(("ended", "ok"))
        except BaseException as error:
            pipe.send(("ended", _reason(error)))

    with _Child(work) as child:
        try:
            while True:
                kind, value = child.receive(max(0, end - time.monotonic()))
                if kind == "ended":
                    return values, value
                values.append(value)
        except TimeoutError:
            return values, f"over {seconds:.0f} s"
        except EOFError:
            return values, ENDED


def once(body, seconds):
    """What body() returns, as "answer", for work that times itself."""

    def work(pipe):
        try:
            pipe.send(("answer", body()))
        except BaseException as error:
            pipe.send(("failed", _reason(error)))

    with _Child(work) as child:
        try:
            kind, value = child.receive(seconds)
            return {"status": "ok", "answer": value} if kind == "answer" else {"status": value}
        except TimeoutError:
            return {"status": f"over {seconds:.0f} s"}
        except EOFError:
            return {"status": ENDED}
