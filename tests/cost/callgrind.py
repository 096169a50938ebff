# SPDX-License-Identifier: Apache-2.0
"""What callgrind has counted, read from its file: instructions of each function itself, by where the function stands."""
import re

NAME = re.compile(r'\((\d+)\)(?: (.*))?')


class Names:
    """A name is told in full once, and then by its number."""

    def __init__(self):
        self.known = {}

    def of(self, text):
        number, name = NAME.fullmatch(text).groups()
        if name is not None:
            self.known[number] = name
        return self.known[number]


def counted(lines):
    """Yields (object, file, instructions) of a function's own code, what was inlined into it included. The file is the
    function's."""
    names = {'ob': Names(), 'fl': Names()}
    binary = file = None
    skip = False  # the line behind calls= is what the called function cost
    for line in lines:
        key, equals, value = line.rstrip('\n').partition('=')
        if equals and key in ('ob', 'cob'):
            name = names['ob'].of(value)
            binary = name if key == 'ob' else binary
        elif equals and key in ('fl', 'fi', 'fe', 'cfi', 'cfl'):
            name = names['fl'].of(value)
            file = name if key == 'fl' else file
        elif key == 'calls':
            skip = True
        elif line[:1] in set('+-*0123456789'):
            if not skip:
                yield binary, file, int(line.split()[1])
            skip = False


def by_part(lines, binary, top):
    """Instructions of our own code per folder ('net', 'core/log', ...): neither libraries nor the simulated world, whose
    part is the real one's kernel. `binary` is the program's name, `top` what its paths begin with."""
    parts = {}
    for of, file, instructions in counted(lines):
        if not of.endswith('/' + binary) or not file.startswith(top + '/'):
            continue
        name = file[len(top) + 1:]
        name = name[name.index('generated/') + len('generated/'):] if 'generated/' in name else name
        folder = name.rpartition('/')[0]
        if folder.split('/')[0] in ('io', 'net', 'core') and folder != 'io/sim':
            parts[folder] = parts.get(folder, 0) + instructions
    return parts
