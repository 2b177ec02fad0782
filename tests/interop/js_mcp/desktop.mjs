// One client of the official TypeScript SDK: lists, calls, answers a question, reads and prompts; prints what it saw.
// node desktop.mjs v1|v2-legacy|v2-auto http|stdio URL-OR-COMMAND TOKEN TOOL PARAMS ask|prompts [FILE-MADE-ON-PROGRESS]

import { writeFileSync } from "node:fs";

const [sdk, way, target, token, tool, params, question, heard] = process.argv.slice(2);

async function parts() {
  if (sdk === "v1") {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
    return { Client, StdioClientTransport, StreamableHTTPClientTransport, asked: ElicitRequestSchema };
  }
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  return { Client, StdioClientTransport, StreamableHTTPClientTransport, asked: "elicitation/create" };
}

const { Client, StdioClientTransport, StreamableHTTPClientTransport, asked } = await parts();
const options = { capabilities: { elicitation: { form: {} } } };
if (sdk !== "v1") options.versionNegotiation = { mode: sdk.slice(3) };
const client = new Client({ name: "desktop", version: "1" }, options);
const questions = [];
client.setRequestHandler(asked, (request) => {
  questions.push(request.params.message);
  return { action: "accept", content: { message: "Ada" } };
});

let transport;
if (way === "http") {
  transport = new StreamableHTTPClientTransport(new URL(target), {
    requestInit: { headers: { Authorization: `Bearer ${token}` } },
  });
} else {
  const [command, ...args] = JSON.parse(target);
  transport = new StdioClientTransport({ command, args, env: { ...process.env, HIVE_MCP_TOKEN: token } });
}
await client.connect(transport);
const seen = { server: client.getServerVersion(), questions };
seen.tools = (await client.listTools()).tools;
seen.progress = [];
const call = (name, given) =>
  client.callTool({ name, arguments: given }, ...(sdk === "v1" ? [undefined] : []), {
    onprogress: (one) => {
      seen.progress.push(one.message);
      if (heard) writeFileSync(heard, "");
    },
  });
seen.result = await call(tool, JSON.parse(params));
if (question === "ask") {
  seen.resources = (await client.listResources()).resources;
  seen.read = await client.readResource({ uri: seen.resources[0].uri });
}
if (question === "prompts") {
  seen.prompts = (await client.listPrompts()).prompts;
  seen.prompt = await client.getPrompt({ name: seen.prompts[0].name });
}
try {
  await call("no-such-tool", {});
} catch (error) {
  seen.error = error.code;
}
await client.close();
console.log(JSON.stringify(seen));
