"""Loads the pytest plugin late, so that coverage can be measured.

setup.cfg blocks the entry point of the plugin: pytest would load it before pytest-cov starts, and
the lines that an import executes would count as not covered.
"""

pytest_plugins = ["statefun_flask.testing.plugin"]
