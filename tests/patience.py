"""How long a test waits for what must happen, and how long is too long: a slow machine is no failure.

The tests of mutants wait for what never happens, and set it lower.
"""

SECONDS = 60.0
OF_A_MUTANT = 4.0
