#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of tools/tree-rules bites: a clean little tree passes, each spoiled one fails by name."""
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "tree-rules"
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
HEADER = SPDX + "#pragma once\n"
LIBRARY = SPDX + "/* Says a.\n */\n"
MAP = ("# T\n\n## The map\n\n| File | Role |\n| --- | --- |\n| `io/a` | a |\n| `net/b` | b |\n| `net/d.def` | d |\n"
       "| `io/diag_loggers.def` | l |\n| `core/c` | c |\n\n## Next\n")
CLEAN = {
    "README.md": MAP,
    "io/a.h": HEADER,
    "io/a.c": SPDX + '#include "io/a.h"\n/* time( in a comment, "open(" in a string */\n'
              'static const char *const names[] = {"open(x)", "rand()"};\n'
              "const char *const *a_names(void);\nconst char *const *a_names(void)\n{\n    return names;\n}\n",
    "net/b.h": HEADER + '#include "io/a.h"\n',
    "net/b.c": SPDX + '#include "net/b.h"\nint b_call(int (*open)(void));\n'
               "int b_call(int (*open)(void))\n{\n    static_assert(1, \"yes\");\n    return open != 0;\n}\n",
    "net/d.def": SPDX,
    "io/diag_loggers.def": SPDX + 'DIAG_LOGGER(sun, "Day.")\n',
    "core/c.c": SPDX + '#include "net/b.h"\nvoid c_say(void);\nvoid c_say(void)\n{\n    diag_warn(0, "sun.rises", "a=1");\n}\n',
}


def function(lines):
    return "void f(void);\nvoid f(void)\n{\n" + "    ;\n" * lines + "}\n"


# rule, file, its text, what the finding must contain
SPOILED = [
    ("direction", "io/a.c", SPDX + '#include "net/b.h"\n', "io/ may not include net/b.h"),
    ("direction", "net/b.c", SPDX + '#include "core/c.h"\n', "net/ may not include core/c.h"),
    ("direction", "core/c.c", SPDX + '#include "c.h"\n', "from the root"),
    ("direction", "core/log/l.c", SPDX + '#include "core/c.h"\n', "core/log/ may not include core/c.h"),
    ("direction", "core/log/l.c", SPDX + '#include "core/metadata/m.h"\n', "core/log/ may not include core/metadata/m.h"),
    ("direction", "core/c.c", SPDX + '#include "io/real/ring.h"\n', "private"),
    ("map", "io/lost.c", SPDX, "io/lost.c: not in"),
    ("map", "README.md", MAP.replace("| `net/b` | b |", "| `net/b` | b |\n| `net/gone` | b |"), "net/gone"),
    ("map", "README.md", MAP.replace("net/d.def", "net/d"), "lists net/d, which does not exist"),
    ("map", "README.md", MAP.replace("| `net/b` | b |", "| `net/b` | b |\n| `net/b` | b |"), "twice"),
    ("map", "README.md", MAP.replace("| `io/a` | a |\n| `net/b` | b |", "| `net/b` | b |\n| `io/a` | a |"),
     "net/b.h:3: io/a.h stands below"),
    ("world", "core/c.c", SPDX + function(1).replace(";\n}", "time(0);\n}"), "core/c.c:5: time()"),
    ("world", "io/a.c", SPDX + "int x = open(0);\n", "open()"),
    ("world", "net/b.c", SPDX + "pthread_mutex_lock(0);\n", "pthread_mutex_lock()"),
    ("world", "core/c.c", SPDX + "_Thread_local int x;\n", "_Thread_local"),
    ("world", "io/sim/s.c", SPDX + "printf(x);\nclock_gettime(0, 0);\n", "io/sim/s.c:3: clock_gettime()"),
    ("never", "tests/t.c", SPDX + "strcpy(a, b);\n", "strcpy()"),
    ("never", "io/a.c", SPDX + "\n\nassert(x);\n", "io/a.c:4: assert()"),
    ("log-events", "core/c.c", SPDX + '\nint x = diag_warn(sh,\n "moon.full", "a=%u", 1);\n', "core/c.c:3: io/diag_loggers.def has no moon"),
    ("function-length", "core/c.c", SPDX + function(71), "71 lines"),
    ("nesting", "core/c.c", SPDX + "void f(void)\n{\n" + 16 * " " + "}\n}\n", "core/c.c:4"),
    ("file-length", "tests/t.c", SPDX + "int x;\n" * 1200, "1201 lines"),
    ("spdx", "core/c.c", "int x;\n", "no SPDX"),
    ("spdx", "tests/run", "#!/bin/bash\n", "no SPDX"),
    ("pragma-once", "io/a.h", SPDX, "no #pragma once"),
    ("notes", "core/c.c", SPDX + "/* TO" "DO: later */\n", "core/c.c:2"),
    ("home-paths", "core/c.c", SPDX + "/* see /ro" "ot/x */\n", "core/c.c:2"),
    ("globals", "core/c.c", SPDX + "int counter;\n", "counter"),
    ("globals", "net/b.c", SPDX + "int f(void);\nint f(void)\n{\n    static int calls = 7;\n    return ++calls;\n}\n", "calls"),
    ("globals", "core/c.c", SPDX + "_Thread_local int mine;\n", "mine"),
]


def lay(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)


def compile_objects(folder):
    """Objects where CMake puts them; what does not compile is not the business of globals."""
    build = folder / ".git" / "objects-of-the-test"
    for source in folder.glob("*/*.c"):
        to = build / "CMakeFiles/mr-common.dir" / source.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-fPIC", "-O1", "-w", "-I", folder, "-c", source, "-o", f"{to}.o"],
                       stderr=subprocess.DEVNULL)
    return build


def run(folder):
    result = subprocess.run([TOOL, "--root", folder, "--objects", compile_objects(folder)],
                            capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def verdict(what, good, output):
    print(("PASS " if good else "FAIL ") + what)
    if not good:
        print(output)
    return bool(good)


def main():
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lay(folder, CLEAN)
        code, output = run(folder)
        results.append(verdict("a clean tree", code == 0 and "FAIL" not in output, output))
    for rule, file, text, finding in SPOILED:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            lay(folder, CLEAN | {file: text})
            code, output = run(folder)
            bites = [line for line in output.splitlines()
                     if line.startswith(f"FAIL {rule}: ") and finding in line]
            results.append(verdict(f"{rule}: {finding}", code == 1 and bites, output))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lay(folder, CLEAN | {"core/a.h": HEADER + '#include "core/z.h"\n',
                             "core/z.h": HEADER.replace(" */", "\n *\n * Last in the alphabet, first in use.\n */")})
        subprocess.run([TOOL, "--root", folder, "--map", "--write"], stdout=subprocess.DEVNULL)
        code, output = run(folder)
        readme = (folder / "README.md").read_text()
        results.append(verdict("map --write repairs the map, in include order, with the role",
                               code == 0 and "| `core/z` | last in the alphabet, first in use |\n| `core/a` |" in readme,
                               output + readme))
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
