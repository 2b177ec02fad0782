// Makes a component of one JavaScript file: node javascript.mjs SOURCE WIT OUT, beside the tool's node_modules
// SOURCE exports `agent(text, turn)`, plain or async; what it returns is the answer, `{ask: "..."}` a question.
import { readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [source, witPath, out] = process.argv.slice(2);
const ENTRY = `
export async function handle(turn) {
  try {
    const answer = await agent(turn.text, turn);
    if (answer !== null && typeof answer === "object" && "ask" in answer) return { tag: "ask", val: String(answer.ask) };
    return { tag: "done", val: answer === undefined || answer === null ? "" : String(answer) };
  } catch (error) {
    const told = error && error.payload ? error.payload.text + " (" + error.payload.code + ")" : String(error);
    throw Object.assign(new Error(told), { payload: told });
  }
}
`;
const { component } = await componentize((await readFile(source, "utf8")) + ENTRY, {
  witPath,
  worldName: "agent",
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(out, component);
