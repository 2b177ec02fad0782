// The same in JavaScript: `hive build ./greeter.js`, then `hive run ./greeter.wasm`.
import { write } from "hive:agent/log@0.1.0";
import { ask } from "hive:agent/models@0.1.0";

export function agent(text) {
  const [word, ...rest] = text.trim().split(" ");
  if (word === "model") {
    const request = { model: "default", messages: [{ role: "user", content: rest.join(" ") }] };
    return JSON.parse(ask(JSON.stringify(request))).choices[0].message.content;
  }
  if (word === "who") return { ask: "Who are you?" };
  write("info", "greeting");
  return `Hello, ${text.trim() || "stranger"}.`;
}
