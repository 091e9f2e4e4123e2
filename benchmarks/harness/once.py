"""One repetition: python -m benchmarks.harness.once MODULE:FUNCTION ARGUMENTS-AS-JSON.

The last line that it prints is the reading, as JSON.
"""

import importlib
import json
import sys


def main() -> None:
    call, arguments = sys.argv[1:]
    module, _, name = call.partition(":")
    reading = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    print(json.dumps(reading))


if __name__ == "__main__":
    main()
