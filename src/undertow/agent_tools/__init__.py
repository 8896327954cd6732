"""Answer what an agent may ask of one folder: typed answers, read-only, bounded in size, with inert text.

A room of its own and no leaf: it needs no package but undertow's, so that every question is tested without a protocol.
`undertow.integrations.mcp` hands it to the Model Context Protocol, and does nothing else.
"""

from undertow.agent_tools.tools import Tools

__all__ = ["Tools"]
