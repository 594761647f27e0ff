"""Run the benchmarks of many workers: python -m benchmarks.cluster CASE --help."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cluster import conversions, model, tasks
from benchmarks.report import markdown
from benchmarks.tree import synthetic_tree


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster")
    cases = parser.add_subparsers(dest="case", required=True, metavar="CASE")
    add = cases.add_parser("tasks", help="tasks of no work through a scheduler").add_argument
    add("--tasks", type=int, default=5_000, help="how many; 500000 take a quarter of an hour")
    add("--workers", type=int, default=2)
    add("--window", type=int, default=tasks.WINDOW, help="at once; 0 for all")
    add = cases.add_parser("convert", help="one and two workers of Dask").add_argument
    add("--tree", type=Path, help="a BigEarthNet v2 tree (default: a made one)")
    add("--n", type=int, default=1000, help="patches of the made tree")
    add("--shards", type=int, default=8)
    add("--rounds", type=int, default=3)
    add("--pinned", action="store_true", help="each worker, and the process alone, on one core")
    add("--out", type=Path, default=Path("/dev/shm"), help="where all of it lies meanwhile")  # noqa: S108
    cases.add_parser("model", help="which resource decides on 1 to 64 nodes, computed")
    return parser.parse_args()


def main() -> None:
    """Run a case; its table to stdout."""
    args = parse()
    if args.case == "model":
        for work in (model.BIGEARTHNET, model.SCENES):
            print(markdown(model.table(work)))
        return
    beside = args.out if args.case == "convert" else None
    with TemporaryDirectory(prefix="patchpress-cluster-", dir=beside) as folder:
        if args.case == "convert":
            tree = args.tree or synthetic_tree(Path(folder), args.n, 0)
            table = conversions.run(
                tree, Path(folder), args.shards, args.rounds, pinned=args.pinned
            )
            print(markdown(table))
            return
        print(markdown(tasks.run(Path(folder), args.tasks, args.workers, args.window or None)))


if __name__ == "__main__":
    main()
