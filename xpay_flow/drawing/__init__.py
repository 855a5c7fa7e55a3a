"""What does it look like? A lifecycle or a payment's story as Mermaid or SVG text.

Pure functions without dependencies. The pictures are drawn from the machine and from the record,
so they cannot say what those do not. Foreign text is escaped and cut.
"""

from .lifecycle import lifecycle_mermaid, lifecycle_svg
from .sequence import sequence_mermaid, sequence_svg
from .svg import STYLE

__all__ = ["STYLE", "lifecycle_mermaid", "lifecycle_svg", "sequence_mermaid", "sequence_svg"]
