"""The server as the official Python SDK sees it: list, call, be refused, take back."""

import asyncio
import os
import sys

from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import Implementation

mode, program, workspace, home, outside = sys.argv[1:]
server = StdioServerParameters(command=program, args=["mcp", "serve", "--workspace", workspace], env=dict(os.environ))
me = Implementation(name="python-test", version="4.5.6")


async def handshake():
    """With the handshake of the protocol up to 2025-11-25."""
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write, client_info=me) as session:
            said = await session.initialize()
            assert said.protocol_version < "2026", said
            await use(session, said.instructions)


async def inline():
    """Without one, as of 2026-07-28."""
    async with Client(stdio_client(server), client_info=me) as client:
        assert client.protocol_version >= "2026-07-28", client.protocol_version
        await use(client, client.instructions)


async def use(session, instructions):
    assert "Policy: workspace-write" in instructions, instructions
    names = [tool.name for tool in (await session.list_tools()).tools]
    assert names == ["apply_patch", "policy_explain", "read_file", "run_sandboxed", "search"], names
    made = await session.call_tool("run_sandboxed", {"command": "echo by python > made"})
    assert not made.is_error and made.structured_content["exit_code"] == 0, made
    await session.call_tool("run_sandboxed", {"command": f"mkdir -p {outside}; touch {outside}/made"})
    refused = await session.call_tool("run_sandboxed", {"command": f"cat {home}/.ssh/id_ed25519"})
    assert refused.is_error and refused.structured_content["denials"], refused
    key = await session.call_tool("read_file", {"path": f"{home}/.ssh/id_ed25519"})
    assert key.is_error, key
    reads = await asyncio.gather(*(session.call_tool("read_file", {"path": "made"}) for _ in range(8)))
    assert all("by python" in read.content[0].text for read in reads), reads
    try:
        await asyncio.wait_for(session.call_tool("run_sandboxed", {"command": "sleep 86399.5"}), 2)
        raise AssertionError("it was not taken back")
    except asyncio.TimeoutError:
        pass
    after = await session.call_tool("run_sandboxed", {"command": "echo after"})
    assert not after.is_error, after
    print("all held")


asyncio.run({"handshake": handshake, "inline": inline}[mode]())
