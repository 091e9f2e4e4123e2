"""Where the job runs."""

import os
from pathlib import Path

from pydantic import Field

from orchestrator.spec.base import Auto, Count, SpecModel, Text
from orchestrator.units import ByteSize


class RuntimeSpec(SpecModel):
    """The Ray cluster and the directory of the user's code."""

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

    @property
    def data_root(self) -> str:
        """The directory that paths of data and the storage are relative to."""
        if self.data_dir is None:
            return self.working_dir
        return os.path.normpath(Path(self.working_dir) / self.data_dir)
