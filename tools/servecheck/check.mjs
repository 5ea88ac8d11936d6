// Asks a running vlmtool serve by OpenAI's TypeScript client. For developers; arguments as of check.py.
//
//   node tools/servecheck/check.mjs http://127.0.0.1:8080/v1 demo/example.png "what color is the triangle?"
//                                                      (needs npm install openai where node looks for it)

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const OpenAI = createRequire(process.cwd() + "/")("openai").default;
const [url, image, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
let failures = 0;

function check(name, ok, seen) {
  failures += ok ? 0 : 1;
  console.log(`${ok ? "ok   " : "WRONG"} ${name}: ${JSON.stringify(seen)}`);
}

const model = (await client.models.list()).data[0].id;
const picture = { type: "image_url", image_url: { url: "data:image/png;base64," + readFileSync(image).toString("base64") } };
const request = { model, temperature: 0, max_tokens: 40, messages: [{ role: "user", content: [picture, { type: "text", text: question }] }] };

const whole = await client.chat.completions.create(request);
const answer = whole.choices[0].message.content;
check("a picture", answer && whole.usage.completion_tokens > 0, answer);

let streamed = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
check("a stream", streamed === answer && usage.total_tokens === whole.usage.total_tokens, streamed);

const final = await client.chat.completions.stream(request).finalContent();
check("stream()", final === answer, final);

const schema = { type: "object", properties: { color: { enum: ["red", "green", "blue"] } }, required: ["color"], additionalProperties: false };
const made = await client.chat.completions.create({ ...request, response_format: { type: "json_schema", json_schema: { name: "seen", strict: true, schema } } });
check("json_schema", "color" in JSON.parse(made.choices[0].message.content), made.choices[0].message.content);

try {
  await client.chat.completions.create({ ...request, model: "gpt-4o" });
  check("another model", false, "no error");
} catch (e) {
  check("another model", e instanceof OpenAI.NotFoundError && e.code === "model_not_found", e.message);
}
console.log(`${failures} wrong`);
process.exit(failures > 0 ? 1 : 0);
