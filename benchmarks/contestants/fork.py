"""The same SDK under another name, with a current protobuf."""

import pathlib
import runpy

handle = runpy.run_path(str(pathlib.Path(__file__).with_name("apache.py")))["handle"]
