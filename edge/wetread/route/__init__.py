"""Which bundles read a study, which series feed them, and why the others do not."""

import sys
from types import ModuleType

# ``cel`` imports its own command line (typer, rich, prompt_toolkit): a fifth of the start of each of our processes.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
