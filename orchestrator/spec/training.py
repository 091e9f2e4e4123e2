"""How the model is trained: task or own loop, batches, optimizer and schedule."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from orchestrator.spec.base import (
    Arguments,
    BelowOne,
    Count,
    Flag,
    Fraction,
    NonNegative,
    Positive,
    SpecModel,
    Whole,
    kind_or_mapping,
    problem,
)
from orchestrator.symbols import Reference
from orchestrator.units import Interval


class AdamW(SpecModel):
    """Adam with decoupled weight decay."""

    type: Literal["adamw"] = Field(default="adamw", description="Adam with decoupled weight decay.")
    lr: Positive = Field(default=1e-3, description="Peak learning rate.")
    weight_decay: NonNegative = Field(default=0.01, description="Weight decay.")
    betas: tuple[BelowOne, BelowOne] = Field(
        default=(0.9, 0.999), description="Decay rates of the first and the second moment."
    )
    eps: Positive = Field(default=1e-8, description="Term added to the denominator.")


class Sgd(SpecModel):
    """Stochastic gradient descent."""

    type: Literal["sgd"] = Field(default="sgd", description="Stochastic gradient descent.")
    lr: Positive = Field(description="Peak learning rate.")
    momentum: BelowOne = Field(default=0.0, description="Momentum; 0 is without.")
    nesterov: Flag = Field(
        default=False, description="Whether to use Nesterov's momentum; needs momentum above 0."
    )
    weight_decay: NonNegative = Field(default=0.0, description="Weight decay.")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise problem("nesterov: true needs a momentum above 0, and momentum is 0")
        return self


class Constant(SpecModel):
    """The peak learning rate after the warm-up."""

    type: Literal["constant"] = Field(
        default="constant", description="The peak learning rate after the warm-up."
    )
    warmup_steps: Whole = Field(
        default=0, description="Steps of linear rise to the peak; 0 is without."
    )


class Linear(SpecModel):
    """A straight fall from the peak to a final share of it."""

    type: Literal["linear"] = Field(
        default="linear", description="A straight fall after the warm-up."
    )
    warmup_steps: Whole = Field(
        default=0, description="Steps of linear rise to the peak; 0 is without."
    )
    final_fraction: Fraction = Field(
        default=0.0, description="Share of the peak learning rate that is left at the last step."
    )


class Cosine(SpecModel):
    """Half a cosine from the peak to a final share of it."""

    type: Literal["cosine"] = Field(
        default="cosine", description="Half a cosine after the warm-up."
    )
    warmup_steps: Whole = Field(
        default=0, description="Steps of linear rise to the peak; 0 is without."
    )
    final_fraction: Fraction = Field(
        default=0.0, description="Share of the peak learning rate that is left at the last step."
    )


def _no_clock(every: Interval) -> Interval:
    if every.seconds is not None:
        raise ValueError(
            'wanted steps or epochs such as "100 steps" or "1 epoch": '
            "clocks differ between workers, and all must agree when to validate"
        )
    return every


StepInterval = Annotated[
    Interval,
    AfterValidator(_no_clock),
    WithJsonSchema({"type": "string", "format": "step-interval"}),
]
OptimizerSpec = Annotated[
    AdamW | Sgd,
    Field(discriminator="type"),
    BeforeValidator(
        kind_or_mapping("adamw"),
        json_schema_input_type=Annotated[AdamW | Sgd, Field(discriminator="type")]
        | Literal["adamw"],
    ),
]
ScheduleSpec = Annotated[
    Constant | Linear | Cosine,
    Field(discriminator="type"),
    BeforeValidator(
        kind_or_mapping("constant"),
        json_schema_input_type=Annotated[Constant | Linear | Cosine, Field(discriminator="type")]
        | Literal["constant", "linear", "cosine"],
    ),
]


# An own loop makes these itself, or does without.
_OF_TASK = ("strategy", "optimizer", "schedule", "clip_norm", "micro_batch_size", "oom_retries")


class TrainingSpec(SpecModel):
    """The training task, or an own loop in its place, and everything that shapes the steps."""

    task: Reference | None = Field(
        default=None,
        description="Class derived from TrainTask; exactly one of task and loop is set.",
    )
    loop: Reference | None = Field(
        default=None,
        description="Function that trains with a loop of its own, given a TrainContext; strategy,"
        " optimizer, schedule, clip_norm, micro_batch_size and oom_retries are then its own"
        " business.",
    )
    with_: Arguments = Field(
        default_factory=dict,
        validation_alias="with",
        serialization_alias="with",
        description="Keyword arguments for the task's constructor, or for the loop.",
        json_schema_extra={"default": {}},
    )
    epochs: Count | None = Field(
        default=None, description="Epochs to train; exactly one of epochs and steps is set."
    )
    steps: Count | None = Field(
        default=None, description="Steps to train; exactly one of epochs and steps is set."
    )
    global_batch_size: Count = Field(description="Rows of one step, over all workers.")
    micro_batch_size: Count | None = Field(
        default=None,
        description="Rows of one forward pass of a worker; null takes all its rows at once.",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="How workers share the model: ddp keeps all of it on each; fsdp cuts weights,"
        " gradients and the optimizer's state over them, and checkpoints are written in pieces.",
    )
    oom_retries: Whole = Field(
        default=6,
        description="How often one step is tried again, each time with half the rows in a"
        " micro-batch, when the device's memory does not suffice; 0 does not.",
    )
    on_nan: Literal["stop", "rewind"] = Field(
        default="stop",
        description="What follows a loss or a weight that is infinite or not a number: the end of"
        " the run, or another attempt from the newest checkpoint that leaves the step's rows out.",
    )
    max_rewinds: Count = Field(
        default=3, description="How often a run may be rewound, over all its attempts."
    )
    optimizer: OptimizerSpec = Field(
        default_factory=AdamW,
        description="Optimizer.",
        json_schema_extra={"default": "adamw"},
    )
    schedule: ScheduleSpec = Field(
        default_factory=Constant,
        description="Learning rate over the steps.",
        json_schema_extra={"default": "constant"},
    )
    clip_norm: Positive | None = Field(
        default=None, description="Largest norm of the whole gradient; null does not clip."
    )
    validate_every: StepInterval = Field(
        default=Interval(epochs=1),
        description="Steps or epochs between validations.",
    )
    report_every: Count = Field(default=10, description="Steps between reports of metrics.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description='Device to train on; "auto" takes a GPU where one is given.'
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise problem(
                f"exactly one of epochs and steps must be set, and both are "
                f"(epochs: {self.epochs}, steps: {self.steps}); set the other to null"
            )
        if self.epochs is None and self.steps is None:
            raise problem("exactly one of epochs and steps must be set, and neither is")
        return self

    @model_validator(mode="after")
    def _task_or_loop(self) -> Self:
        if self.task is not None and self.loop is not None:
            raise problem(
                f"exactly one of task and loop must be set, and both are"
                f" (task: {self.task}, loop: {self.loop})"
            )
        if self.task is None and self.loop is None:
            raise problem("exactly one of task and loop must be set, and neither is")
        if self.loop is not None and self.on_nan == "rewind":
            raise problem(
                f"on_nan: rewind belongs to a task, and training.loop is set: nobody can leave out"
                f" a step of the loop {self.loop}",
                at="on_nan",
            )
        if self.loop is not None:
            for name in _OF_TASK:
                if name in self.model_fields_set and getattr(self, name) is not None:
                    raise problem(
                        f"{name} belongs to a task, and training.loop is set: the loop"
                        f" {self.loop} has to see to it itself",
                        at=name,
                    )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, JsonValue]:
        written: dict[str, JsonValue] = handler(self)
        unused = _OF_TASK if self.loop is not None else ()
        return {name: value for name, value in written.items() if name not in unused}
