"""The options that say how many egress records are kept."""

from __future__ import annotations

import click

keep_records_option = click.option(
    "--keep-records",
    metavar="N",
    type=click.IntRange(min=1),
    help="Keep the last N egress records of each topic. Default: 10000.",
)
keep_days_option = click.option(
    "--keep-days",
    metavar="D",
    type=click.FloatRange(min=0, min_open=True, max=100_000),
    help="Keep egress records for D days. Default: 7.",
)
