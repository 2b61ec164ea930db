# SPDX-License-Identifier: MIT
"""A server of tools by the protocol's own library (the package `mcp`), for tests/mcp_test.py:
mcp_reference.py stdio, or streamable-http PORT."""
import sys
from typing import Literal

from mcp.server import MCPServer
from mcp.types import ImageContent, TextContent

server = MCPServer('reference')
PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


@server.tool(title='더하기')
def add(a: Literal[2], b: Literal[3]) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def greet(name: Literal['민아']) -> str:
    """Greets."""
    return f'안녕, {name}'


@server.tool()
def picture() -> list[TextContent | ImageContent]:
    """A picture."""
    return [TextContent(type='text', text='here'), ImageContent(type='image', data=PIXEL, mimeType='image/png')]


@server.tool()
def broken() -> str:
    """Fails."""
    raise ValueError('no such thing')


# A small model would go on adding members of its own.
for tool in server._tool_manager.list_tools():
    tool.parameters['additionalProperties'] = False

if __name__ == '__main__':
    if sys.argv[1] == 'stdio':
        server.run(transport='stdio')
    else:
        server.run(transport='streamable-http', host='127.0.0.1', port=int(sys.argv[2]))
