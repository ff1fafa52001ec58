#!/usr/bin/env python3
"""A death at every named failpoint: kills.py --failpoints (needs a build with --enable-failpoints)."""

import os
import sys

if __name__ == "__main__":
    kills = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kills.py")
    sys.exit(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, kills, "--failpoints", "--kills", "30"] + sys.argv[1:]))
