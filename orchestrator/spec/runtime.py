"""Where the job runs, and in which environment."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from orchestrator.spec.base import Auto, Count, SpecModel, Text, one_or_more, problem
from orchestrator.spec.requirements import check_requirement
from orchestrator.spec.variables import problem_of_name
from orchestrator.units import ByteSize

Requirement = Annotated[
    Text,
    AfterValidator(check_requirement),
    Field(json_schema_extra={"format": "requirement"}),
]


class RuntimeSpec(SpecModel):
    """The Ray cluster, the directory of the user's code, and what its processes find there."""

    address: Text = Field(
        default="local",
        description='Address of a Ray cluster; "local" starts one inside the process, '
        '"auto" looks for a running one.',
    )
    cpus: Count | Auto = Field(
        default="auto",
        description='Logical CPUs of a local Ray; "auto" takes those of the machine, at least 8.',
    )
    object_store: ByteSize | Auto = Field(
        default="auto",
        description='Memory for blocks in a local Ray, such as "512MiB"; "auto" lets Ray choose.',
    )
    working_dir: Text = Field(
        default=".",
        description="Directory of the user's code and data, relative to the spec file.",
    )
    data_dir: Text | None = Field(
        default=None,
        description="Directory that paths of data and the storage are relative to, where it is not "
        "that of the code; itself relative to runtime.working_dir, which null stands for.",
    )

    env: dict[str, Text] = Field(
        default={},
        description="Variables of the job's processes. A secret is written as ${env:NAME} or "
        "${file:/PATH}.",
    )
    pip: Annotated[
        tuple[Requirement, ...],
        BeforeValidator(one_or_more, json_schema_input_type=tuple[Requirement, ...] | Requirement),
    ] = Field(
        default=(),
        description="Packages that a submitted job adds to those of its cluster; "
        "`submit` wants --trust for them, and `run` leaves them to its own environment.",
    )
    excludes: tuple[Text, ...] = Field(
        default=(),
        description="What `submit` leaves out of runtime.working_dir, as in a .gitignore.",
    )

    @field_validator("env")
    @classmethod
    def _names_may_be_set(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if (wrong := problem_of_name(name)) is not None:
                raise problem(wrong, at=name)
        return env

    @property
    def data_root(self) -> str:
        """The directory that paths of data and the storage are relative to."""
        if self.data_dir is None:
            return self.working_dir
        return os.path.normpath(Path(self.working_dir) / self.data_dir)
