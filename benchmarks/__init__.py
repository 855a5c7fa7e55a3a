"""What does it cost? Figures of this library beside named opponents, all measured in one run.

    python -m benchmarks            some minutes; a table, and a picture in artefacts/
    python -m benchmarks --short    a minute or two; shows that it works, and little else
    python -m benchmarks --json     every sample, for other programs

A figure alone shows more about the machine than about the library, so each stands beside a ratio
to an opponent that did its work in turns with it; one that is not installed is left out and named.
Files are made in `TMPDIR`; on a disk in memory a flush costs nothing, and what is left is
Python.
"""
