// The page talks to the same API as any other client. What the model says is only ever text.
import { element } from "./element.js";
import { readEvents } from "./events.js";
import { forgetMaps, framed, lookable } from "./look.js";

const byID = id => document.getElementById(id);
const log = byID("log"), text = byID("text"), send = byID("send"), settings = byID("settings"), attached = byID("attached");

let model = { id: "", modalities: ["text"] };
let turns = [];   // { role, text, files, frames }; frames of the pictures, where they are shown
let files = [];   // attached to the next question: { type, name, data, url }
let running = null; // the AbortController of the answer under way

const headers = () => {
  const key = settings.elements.key.value;
  return { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
};

// The error of an answer that is not 200.
async function refusal(response) {
  if (response.status === 401) showKey();
  try {
    return new Error((await response.json()).error.message);
  } catch {
    return new Error(`the server answered ${response.status}`);
  }
}

function showKey() {
  byID("key").hidden = false;
  showSettings(true);
  settings.elements.key.focus();
}

function showSettings(on) {
  settings.hidden = !on;
  byID("adjust").setAttribute("aria-expanded", on);
}

async function loadModel() {
  const response = await fetch("v1/models", { headers: headers() });
  if (!response.ok) throw await refusal(response);
  model = (await response.json()).data[0];
  byID("model").textContent = document.title = model.id;
  const takes = kind => model.modalities.includes(kind);
  byID("attach").hidden = !takes("image") && !takes("audio");
  byID("file").accept = ["image", "audio"].filter(takes).map(kind => kind + "/*").join();
  const welcome = byID("welcome"); // gone once something was asked
  if (welcome && !takes("image")) {
    welcome.querySelector("h2").textContent = takes("audio") ? "Ask about a sound" : "Ask the model";
    welcome.querySelector("p").textContent = takes("audio") ? "Drop a WAV or MP3 file here, or choose one. Then type a question." : "Type a question.";
  }
}

// Files.

const readData = file => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

async function attach(list) {
  for (const file of list) {
    const kind = file.type.split("/")[0];
    if (!model.modalities.includes(kind)) {
      note(`${model.id} takes no ${kind || "such"} files.`);
      continue;
    }
    files.push({ kind, name: file.name, type: file.type, data: await readData(file), url: URL.createObjectURL(file) });
  }
  showAttached();
  text.focus();
}

function showAttached() {
  attached.replaceChildren(...files.map((file, i) => {
    const item = element("li");
    if (file.kind === "image") {
      const picture = element("img");
      picture.src = file.url;
      picture.alt = file.name;
      item.append(picture);
    } else {
      item.append(element("span", "sound", file.name));
    }
    const remove = element("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.onclick = () => { files.splice(i, 1); showAttached(); };
    item.append(remove);
    return item;
  }));
  update();
}

// Turns.

function showQuestion(turn) {
  byID("welcome")?.remove();
  const box = element("article", "turn user");
  turn.frames = [];
  for (const file of turn.files) {
    const media = element(file.kind === "image" ? "img" : "audio");
    media.src = file.url;
    if (file.kind === "image") {
      media.alt = file.name;
      turn.frames.push(framed(media));
      box.append(turn.frames.at(-1));
    } else {
      media.controls = true;
      box.append(media);
    }
  }
  box.append(element("div", "text", turn.text));
  log.append(box);
  log.scrollTop = log.scrollHeight;
}

function showAnswer() {
  const box = element("article", "turn waiting"), answer = element("div", "text"), about = element("div", "about");
  box.append(answer, about);
  log.append(box);
  log.scrollTop = log.scrollHeight;
  return { box, answer, about, reasoning: null };
}

function note(message) {
  const box = element("p", "turn error", message);
  box.setAttribute("role", "alert");
  log.append(box);
  log.scrollTop = log.scrollHeight;
}

const content = turn => turn.files.length === 0 ? turn.text : [
  ...turn.files.map(file => file.kind === "image"
    ? { type: "image_url", image_url: { url: file.data } }
    : { type: "input_audio", input_audio: { data: file.data.split(",")[1], format: /mpeg|mp3/.test(file.type) ? "mp3" : "wav" } }),
  { type: "text", text: turn.text },
];

function request() {
  const set = settings.elements, number = name => Number(set[name].value);
  const system = set.system.value.trim();
  return {
    model: model.id, stream: true, stream_options: { include_usage: true },
    temperature: number("temperature"), top_p: number("top_p"), seed: number("seed"), max_tokens: number("max_tokens"),
    messages: [
      ...(system ? [{ role: "system", content: system }] : []),
      ...turns.map(turn => ({ role: turn.role, content: content(turn) })),
    ],
  };
}

// ask has the model answer the turns so far.
async function ask() {
  forgetMaps();
  const shown = showAnswer(), answer = { role: "assistant", text: "", files: [], frames: [] }, sent = request();
  const begun = performance.now();
  let first = 0, tokens = 0, finish = "";
  running = new AbortController();
  update();
  try {
    const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(sent), signal: running.signal });
    if (!response.ok) throw await refusal(response);
    for await (const event of readEvents(response.body)) {
      if (event.error) throw new Error(event.error.message);
      if (event.usage) tokens = event.usage.completion_tokens;
      const choice = event.choices?.[0];
      if (!choice) continue;
      finish = choice.finish_reason ?? finish;
      const { content, reasoning_content: reasoning } = choice.delta;
      if (!content && !reasoning) continue;
      first ||= performance.now();
      append(shown, answer, content ?? "", reasoning ?? "");
    }
  } catch (error) {
    if (error.name === "AbortError") {
      finish = "stopped";
    } else {
      shown.box.classList.add("error");
      shown.answer.textContent += (answer.text ? "\n" : "") + error.message;
      finish = "error";
    }
  }
  running = null;
  shown.box.classList.remove("waiting");
  if (finish !== "error" || answer.text) turns.push(answer);
  if (finish !== "error") offerMaps(shown, answer, sent.messages);
  describe(shown, answer, { first: first - begun, all: performance.now() - begun, tokens, finish });
  update();
}

// offerMaps lets the words of an answer be asked where the model looked, if there was a picture to look at.
function offerMaps(shown, answer, messages) {
  const frames = turns.flatMap(turn => turn.frames);
  if (!model.attention || frames.length === 0) return;
  lookable(shown.answer, answer.text, frames, async signal => {
    const body = { model: model.id, messages: [...messages, { role: "assistant", content: answer.text }] };
    const response = await fetch("v1/attention", { method: "POST", headers: headers(), body: JSON.stringify(body), signal });
    if (!response.ok) throw await refusal(response);
    return response.json();
  });
}

function append(shown, answer, content, reasoning) {
  const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (reasoning) {
    if (!shown.reasoning) shown.box.prepend(shown.reasoning = element("div", "reasoning"));
    shown.reasoning.textContent += reasoning;
  }
  answer.text += content;
  shown.answer.textContent = answer.text;
  if (below) log.scrollTop = log.scrollHeight;
}

// describe writes how fast an answer was, and what can be done with it.
function describe(shown, answer, { first, all, tokens, finish }) {
  const parts = [];
  if (tokens > 0) {
    parts.push(`${tokens} ${tokens === 1 ? "token" : "tokens"}`);
    if (tokens > 1 && all > first) parts.push(`${((tokens - 1) / (all - first) * 1000).toFixed(0)} tokens/s`);
    parts.push(`first after ${(first / 1000).toFixed(2)} s`);
  }
  if (finish === "length") parts.push("cut at the longest answer");
  if (finish === "stopped") parts.push("stopped");
  shown.about.append(...parts.map(part => element("span", "", part)));
  if (answer.text) {
    const copy = element("button", "", "Copy");
    copy.type = "button";
    copy.onclick = async () => {
      await navigator.clipboard.writeText(answer.text);
      copy.textContent = "Copied";
    };
    shown.about.append(copy);
  }
  log.querySelectorAll(".again").forEach(button => button.remove());
  const again = element("button", "again", "Try again");
  again.type = "button";
  again.onclick = () => {
    if (running) return;
    if (turns.at(-1)?.role === "assistant") turns.pop();
    shown.box.remove();
    if (Number(settings.elements.temperature.value) > 0) settings.elements.seed.stepUp();
    ask();
  };
  shown.about.append(again);
}

function update() {
  send.textContent = running ? "Stop" : "Send";
  send.disabled = !running && text.value.trim() === "";
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
}

function submit() {
  if (running) return running.abort();
  const question = text.value.trim();
  if (!question) return;
  if (turns.at(-1)?.role === "user") turns.pop(); // its answer was an error
  turns.push({ role: "user", text: question, files });
  showQuestion(turns.at(-1));
  text.value = "";
  files = [];
  showAttached();
  ask();
}

byID("composer").addEventListener("submit", event => { event.preventDefault(); submit(); });
settings.addEventListener("submit", event => event.preventDefault());
settings.elements.key.addEventListener("change", () => loadModel().catch(error => note(error.message)));
text.addEventListener("input", update);
text.addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) submit();
  }
});
addEventListener("keydown", event => { if (event.key === "Escape") running?.abort(); });
byID("adjust").onclick = () => showSettings(settings.hidden);
byID("new").onclick = () => {
  running?.abort();
  forgetMaps();
  turns = [];
  files = [];
  log.replaceChildren();
  showAttached();
  text.focus();
};
byID("attach").onclick = () => byID("file").click();
byID("file").onchange = event => { attach(event.target.files); event.target.value = ""; };
addEventListener("paste", event => { if (event.clipboardData.files.length > 0) { event.preventDefault(); attach(event.clipboardData.files); } });
addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", event => { event.preventDefault(); document.body.classList.remove("over"); attach(event.dataTransfer.files); });

update();
loadModel().catch(error => note(error.message));
