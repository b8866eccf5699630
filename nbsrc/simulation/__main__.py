import sys

from nbsrc.simulation.stream import main

sys.exit(main())
