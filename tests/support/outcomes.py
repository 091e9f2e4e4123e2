"""Results of benchmarks that nobody has measured."""

from benchmarks.harness.machine import Machine
from benchmarks.harness.outcome import Figure, Outcome, Settings, at_least, at_most
from benchmarks.harness.record import Record
from benchmarks.harness.repeat import RepetitionFailedError, Series

MACHINE = Machine(
    cpu="A Processor",
    cores=2,
    memory_bytes=16 << 30,
    system="Linux",
    versions={"Python": "3.11.0"},
    load=0.1,
)


def outcome(name: str = "toy") -> Outcome:
    """One with all there can be: limits, a peer that is ahead, targets met, missed and none."""
    return Outcome(
        name=name,
        title="W0: a toy, 2 < 3",
        figures=[
            Figure(name="P1", unit="rows/s", values=(1000.0, 1020.0, 1100.0)),
            Figure(name="ours", unit="rows/s", values=(500.0, 510.0, 490.0)),
            Figure(name="a peer", unit="rows/s", values=(750.0, 760.0, 740.0)),
            Figure(name="peak", unit="bytes", values=(float(3 << 20),)),
        ],
        checks=[
            at_least("ours / P1", Series((0.5, 0.5, 0.45)), 0.9),
            at_most("peak / plan", Series((1.2,)), 1.5),
            at_least("ours / a peer", Series((0.67, 0.67, 0.66)), None),
        ],
        notes=["Only a toy."],
    )


def record(name: str = "toy") -> Record:
    return Record(
        outcome=outcome(name),
        about="What is measured.",
        command=f"python -m benchmarks {name} --rounds 3",
        commit="0123abc",
        date="2026-01-02",
        seconds=90.0,
        quick=False,
        machine=MACHINE,
    )


class Toy:
    """A benchmark whose outcome is there at once."""

    NAME = "toy"
    TITLE = "W0: a toy, 2 < 3"

    def run(self, settings: Settings) -> Outcome:
        assert settings.folder.is_dir()
        return outcome()


class Broken(Toy):
    """A benchmark that fails."""

    def run(self, settings: Settings) -> Outcome:
        raise RepetitionFailedError("ours: it broke")
