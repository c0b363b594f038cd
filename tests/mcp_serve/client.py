"""The server as the official Python SDK sees it: list, call, be refused, take back."""

import asyncio
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import Implementation

program, workspace, home, outside = sys.argv[1:]
server = StdioServerParameters(command=program, args=["mcp", "serve", "--workspace", workspace], env=dict(os.environ))


async def main():
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write, client_info=Implementation(name="python-test", version="4.5.6")) as session:
            said = await session.initialize()
            assert "Policy: workspace-write" in said.instructions, said
            names = [tool.name for tool in (await session.list_tools()).tools]
            assert names == ["apply_patch", "policy_explain", "read_file", "run_sandboxed", "search"], names
            made = await session.call_tool("run_sandboxed", {"command": "echo by python > made"})
            assert not error(made) and structured(made)["exit_code"] == 0, made
            await session.call_tool("run_sandboxed", {"command": f"mkdir -p {outside}; touch {outside}/made"})
            refused = await session.call_tool("run_sandboxed", {"command": f"cat {home}/.ssh/id_ed25519"})
            assert error(refused) and structured(refused)["denials"], refused
            key = await session.call_tool("read_file", {"path": f"{home}/.ssh/id_ed25519"})
            assert error(key), key
            reads = await asyncio.gather(*(session.call_tool("read_file", {"path": "made"}) for _ in range(8)))
            assert all("by python" in read.content[0].text for read in reads), reads
            try:
                await asyncio.wait_for(session.call_tool("run_sandboxed", {"command": "sleep 86399.5"}), 2)
                raise AssertionError("it was not taken back")
            except asyncio.TimeoutError:
                pass
    print("all held")


def error(result):
    return getattr(result, "is_error", None) if hasattr(result, "is_error") else result.isError


def structured(result):
    return result.structured_content if hasattr(result, "structured_content") else result.structuredContent


asyncio.run(main())
