"""Runs a module as `python -m` does, but from any folder: `python run.py MODULE ARGUMENTS`.

`python -m` would look into the folder where the user is, in which anything may be named `server`.
"""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
