"""How is a lifecycle or a timeline drawn? As Mermaid or SVG text.

Pure functions without dependencies. The pictures are drawn from the machine and from the record,
so they show nothing else. Foreign text is escaped and cut.
"""

from .lifecycle import lifecycle_mermaid, lifecycle_svg
from .sequence import sequence_mermaid, sequence_svg
from .svg import STYLE

__all__ = ["STYLE", "lifecycle_mermaid", "lifecycle_svg", "sequence_mermaid", "sequence_svg"]
