"""A treatment in a process of its own, to be killed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from doctoring.lines import lines
from undertow.doctoring import doctor

if __name__ == "__main__":
    sys.stdout.write(doctor(lines(1e-6), budget=600, seeds=3, processes=0, store=sys.argv[1]).verdict + "\n")
