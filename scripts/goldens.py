#!/usr/bin/env python3
"""Write the fixtures and golden values that the tests compare with.

    scripts/goldens.py            list what there is
    scripts/goldens.py models …   write these
    scripts/goldens.py all        write everything

Each is a module of tools/goldens with a `main()`. They need the packages of tools/goldens/requirements.txt, run on
the CPU and use no network. What they write is committed: tests never run this.
"""

import importlib
import pathlib
import sys

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"


def main() -> int:
    sys.path.insert(0, str(TOOLS))
    # files beginning with _ are shared by others
    names = sorted(path.stem for path in (TOOLS / "goldens").glob("[!_]*.py"))
    # tiny pipelines first: others read them
    names.sort(key=lambda name: name != "fixtures")
    wanted = names if sys.argv[1:] == ["all"] else sys.argv[1:]
    unknown = [name for name in wanted if name not in names]
    if not wanted or unknown:
        print(*[f"no goldens called {name}" for name in unknown], "goldens: " + " ".join(names), sep="\n")
        return 2 if unknown else 0
    for name in wanted:
        print(f"— {name}")
        importlib.import_module(f"goldens.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
