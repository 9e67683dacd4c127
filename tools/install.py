"""Make .venv and fill it from the lock. `python3 tools/install.py` for everything, `--serve` for what serving needs.

Any Python from 3.8 will do to begin with (older ones can read this file, and are told). .venv's own goes on.
"""

import os
import shutil
import sys

TOOLS = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(os.path.dirname(TOOLS), ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
OLDEST = (3, 8)
"""What the files beside this one need, and uv's package."""

INTERRUPTED = 130


def main() -> int:
    if sys.version_info[:2] < OLDEST:
        sys.stderr.write("error: Python 3.8 or later is needed to begin with. Name one: PYTHON=...\n")
        return 1
    from interpreter import brought_python, found_python
    from progress import Failed, Step

    try:
        if not os.path.exists(PYTHON):
            os.makedirs(VENV, exist_ok=True)
            python = found_python() or brought_python()
            if os.path.islink(PYTHON):  # the Python that it had is gone, and venv would leave the link as it is
                shutil.rmtree(os.path.dirname(PYTHON))
            with Step(f"making .venv with {python}") as step:
                step.need(python, "-m", "venv", "--without-pip", VENV)
        os.execv(PYTHON, [PYTHON, os.path.join(TOOLS, "packages.py")] + sys.argv[1:])
    except Failed:
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
