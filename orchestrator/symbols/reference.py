"""The shape of a reference to user code."""

import keyword
import sys
from typing import Annotated

from pydantic import AfterValidator, Field, Strict

WANTED_REFERENCE = 'wanted a reference such as "package.module:attribute"'


def check_reference(text: str) -> str:
    """Returns the reference unchanged when its shape is sound.

    Raises:
        ValueError: It is no `package.module:attribute`, or it reaches into Python itself.
    """
    module, colon, attribute = text.partition(":")
    parts = [*module.split("."), attribute]
    if not colon or not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ValueError(WANTED_REFERENCE)
    if any(part.startswith("__") for part in parts):
        raise ValueError(f"{WANTED_REFERENCE}, without names that start with two underscores")
    if parts[0] in sys.stdlib_module_names:
        raise ValueError(f'{WANTED_REFERENCE} of your own code: "{parts[0]}" is part of Python')
    return text


Reference = Annotated[
    str,
    Strict(),
    AfterValidator(check_reference),
    Field(json_schema_extra={"format": "reference"}),
]
