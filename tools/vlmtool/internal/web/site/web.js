// Starts the model in a worker, and lets the chat page ask it instead of a server.
import { place, size } from "./about.js";
import { element } from "./element.js";

const composer = document.getElementById("composer"), welcome = document.getElementById("welcome");
const small = 32e6; // bytes: what is smaller is loaded without a question

composer.inert = true;
const card = element("section", "loading");
const title = element("h2", "", "Starting"), about = element("p"), bar = element("progress"), begin = element("button", "", "Load the model");
begin.type = "button";
begin.hidden = bar.hidden = true;
bar.setAttribute("aria-label", "Download");
card.setAttribute("aria-live", "polite");
card.append(title, about, bar, begin);
welcome.hidden = true;
document.getElementById("log").prepend(card);

function failed(message) {
  card.classList.add("error");
  title.textContent = "The model cannot run here";
  about.textContent = message;
  begin.hidden = bar.hidden = true;
  if (!card.isConnected) document.getElementById("log").append(card);
  composer.inert = true;
  for (const { reject, stream } of asked.values()) {
    reject(new Error(message));
    stream?.error(new Error(message));
  }
  asked.clear();
}

const asked = new Map(); // id → { resolve, reject, stream }
let ids = 0, worker;

// ask is fetch, answered by the worker.
function ask(path, { method = "GET", body = "", signal } = {}) {
  return new Promise((resolve, reject) => {
    const id = ++ids, request = { resolve, reject, stream: null };
    asked.set(id, request);
    signal?.addEventListener("abort", () => {
      if (!asked.delete(id)) return;
      worker.postMessage({ abort: id });
      reject(signal.reason);
      request.stream?.error(signal.reason);
    });
    worker.postMessage({ id, method, path: "/" + path, body: new TextEncoder().encode(body) });
  });
}

const told = {
  head({ id, status, headers }) {
    const request = asked.get(id);
    if (!request) return;
    const body = new ReadableStream({
      start: stream => { request.stream = stream; },
      cancel: () => { if (asked.delete(id)) worker.postMessage({ abort: id }); },
    });
    request.resolve(new Response(body, { status, headers }));
  },
  data({ id, data }) { asked.get(id)?.stream.enqueue(data); },
  end({ id }) {
    asked.get(id)?.stream.close();
    asked.delete(id);
  },
  failed({ message }) { failed(message); },
};

async function start() {
  if (!globalThis.isSecureContext) throw new Error("Browsers give a page its GPU and its cache only over https, or from this machine.");
  const response = await fetch("model.json");
  if (!response.ok) throw new Error(`model.json: the server answered ${response.status}`);
  const manifest = await response.json();
  document.title = document.getElementById("model").textContent = manifest.id;
  const total = manifest.pieces.reduce((n, piece) => n + piece.bytes, 0);

  worker = new Worker("worker.js");
  worker.onerror = event => failed(event.message || "worker.js could not be loaded");
  worker.onmessage = ({ data }) => told[data.kind](data);

  told.device = async ({ device, name, reason }) => {
    title.textContent = manifest.id;
    about.textContent = `The model runs in this page, ${place({ device, name })}. It takes ${size(total)} to download, once, and ${size(manifest.memory_bytes)} of memory.`;
    if (reason) about.title = reason;
    if (total > small && !await cached(manifest.pieces)) {
      begin.hidden = false;
      begin.focus();
      await new Promise(resolve => begin.onclick = resolve);
    }
    begin.hidden = true;
    bar.hidden = false;
    bar.max = total;
    bar.value = 0;
    worker.postMessage({ load: true });
  };
  told.progress = ({ bytes }) => {
    bar.value = bytes;
    if (bytes < total) return;
    bar.removeAttribute("value"); // what remains has no measure
    title.textContent = "Loading";
  };
  told.ready = async () => {
    const network = globalThis.fetch;
    globalThis.fetch = (input, options) => typeof input === "string" && input.startsWith("v1/") ? ask(input, options) : network(input, options);
    await import("./chat.js");
    card.remove();
    welcome.hidden = false;
    offer(manifest.examples ?? []);
    if (manifest.training) {
      const line = element("p", "or"), link = element("a", "", "watch a model like it learn");
      link.href = "train.html";
      line.append("Or ", link, " in this browser.");
      welcome.append(line);
    }
    composer.inert = false;
    document.getElementById("text").focus();
  };
  worker.postMessage({ start: manifest, device: new URLSearchParams(location.search).get("device") ?? "auto" });
}

// offer shows images that can be attached by a click.
function offer(examples) {
  if (examples.length === 0) return;
  const list = element("div", "examples");
  examples.forEach((file, i) => {
    const button = element("button"), image = element("img");
    button.type = "button";
    image.src = file;
    image.alt = `Example ${i + 1}`;
    button.append(image);
    button.onclick = async () => {
      const blob = await (await fetch(file)).blob(), files = new DataTransfer();
      files.items.add(new File([blob], file, { type: blob.type }));
      const input = document.getElementById("file");
      input.files = files.files;
      input.dispatchEvent(new Event("change"));
    };
    list.append(button);
  });
  welcome.append(element("p", "or", examples.length === 1 ? "Or begin with this one:" : "Or begin with one of these:"), list);
}

// cached reports whether the browser has all pieces.
async function cached(pieces) {
  const cache = await caches.open("patchwork-weights");
  for (const { file } of pieces) {
    if (!await cache.match(file)) return false;
  }
  return true;
}

start().catch(error => failed(error.message));
navigator.serviceWorker?.register("offline.js").catch(() => {}); // without it the page works, but not offline
