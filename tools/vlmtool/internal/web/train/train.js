// The page of the training in a worker: its controls, the curve of the losses, and answers before and
// after.
import { place, size } from "./about.js";
import { element } from "./element.js";

const $ = id => document.getElementById(id);

const settings = new URLSearchParams(location.search);
const device = settings.get("device") ?? "auto";
const imagesPerStep = 8; // more than a step takes: no picture is used twice
const held = Number(settings.get("held") ?? 40); // pictures to ask about

// wanted is the number of steps that is chosen, or ?steps=N.
const wanted = () => Number(settings.get("steps") ?? $("steps").value);

let worker, losses, scores, steps;

function status(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
}

function begin() {
  losses = [];
  scores = [];
  steps = wanted();
  $("examples").replaceChildren();
  $("score").textContent = "The model is asked about them before the first step and after the last one.";
  for (const id of ["step", "loss", "rate", "memory"]) $(id).textContent = "–";
  draw();
  status("Loading the program");
  $("go").textContent = "Stop";
  $("steps").disabled = true;
  worker = new Worker("train-worker.js");
  worker.onerror = event => told.failed({ message: event.message || "train-worker.js could not be loaded" });
  worker.onmessage = ({ data }) => told[data.kind](data);
  worker.postMessage({ start: { device, steps, images: imagesPerStep * steps, held } });
}

function end() {
  worker.terminate();
  worker = null;
  $("go").textContent = "Start";
  $("go").disabled = $("steps").disabled = false;
}

let where = "", name = "";

const told = {
  device({ device, name, reason }) {
    where = place({ device, name });
    $("status").title = reason;
    status(`Drawing pictures`);
  },
  data({ images }) { status(`Preparing the training on ${images} pictures, ${where}`); },
  start({ parameters }) { name = `A model of ${parameters.toLocaleString()} parameters`; },
  scoring({ step }) { status(step === 0 ? `${name} answers questions, untrained` : `${name} answers the questions again`); },
  score(score) {
    scores.push(score);
    showScores();
    if (score.step === 0) status(`Compiling the steps of training, ${where}`);
  },
  step({ step, loss, images, memory }) {
    losses.push(loss);
    if (step === 1) status(`${name} is trained ${where}`);
    $("step").textContent = `${step} of ${steps}`;
    $("loss").textContent = loss.toFixed(3);
    $("rate").textContent = images.toFixed(images < 10 ? 1 : 0);
    $("memory").textContent = size(memory);
    requestAnimationFrame(draw);
  },
  warning({ message }) { console.warn(message); },
  done() {
    status(`${name} was trained ${where}, in ${losses.length} steps`);
    end();
  },
  failed({ message }) {
    status(message, true);
    end();
  },
};

// showScores shows the number of correct answers, and some answers.
function showScores() {
  const texts = scores.map(({ step, right, asked }) => `${right} of ${asked} (${Math.round(100 * right / asked)} %) ${step === 0 ? "untrained" : `after ${step} steps`}`);
  $("score").textContent = `Correct answers: ${texts.join(", ")}.`;
  $("examples").replaceChildren(...scores[0].examples.map(({ png, question, truth }, i) => {
    const item = element("li"), image = element("img");
    image.alt = "";
    image.src = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    image.onload = () => URL.revokeObjectURL(image.src);
    item.append(image, element("span", "", question));
    scores.forEach(({ step, examples }) => {
      const line = element("span"), { answer } = examples[i];
      line.append(element("span", "when", step === 0 ? "before: " : "after: "), element("span", answer === truth ? "right" : "wrong", shown(answer)));
      item.append(line);
    });
    return item;
  }));
}

// shown is an answer of a model that may say anything.
const shown = answer => answer.replace(/[\p{C}\p{Z}\uFFFD]+/gu, " ").trim().slice(0, 24) || "(nothing to read)";

const left = 46, right = 12, top = 12, bottom = 40, width = 640, height = 300;
const ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];

function svg(tag, attributes, content) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (content !== undefined) e.textContent = content;
  return e;
}

// draw draws the losses on a logarithmic axis.
function draw() {
  const finite = losses.filter(loss => Number.isFinite(loss) && loss > 0);
  const low = Math.max(...ticks.filter(tick => tick <= Math.min(1, ...finite)), ticks[0]);
  const high = Math.min(...ticks.filter(tick => tick >= Math.max(5, ...finite)), ticks.at(-1));
  const x = step => left + (width - left - right) * (step - 1) / Math.max(1, steps - 1);
  const y = loss => top + (height - top - bottom) * Math.log(high / Math.max(low, loss)) / Math.log(high / low);
  const parts = [];
  for (const tick of ticks.filter(tick => tick >= low && tick <= high)) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    parts.push(svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  for (const step of [1, ...[1, 2, 3, 4, 5].map(i => steps * i / 5)]) {
    parts.push(svg("text", { x: x(step), y: height - bottom + 18, "text-anchor": step === steps ? "end" : "middle" }, String(step)));
  }
  parts.push(svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "step"));
  parts.push(svg("text", { x: 12, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(top + height - bottom) / 2})` }, "loss"));
  const line = (className, values) => parts.push(svg("polyline", { class: className, points: values.map((loss, i) => `${x(i + 1).toFixed(1)},${y(loss).toFixed(1)}`).join(" ") }));
  line("each", losses.map(loss => Number.isFinite(loss) ? loss : high));
  line("mean", runningMean(losses));
  $("curve").replaceChildren(...parts);
}

// runningMean is over the last tenth of all steps, 20 at most.
function runningMean(values) {
  return values.map((_, i) => {
    const last = values.slice(Math.max(0, i + 1 - Math.max(1, Math.min(20, Math.floor(steps / 10)))), i + 1);
    return last.reduce((sum, value) => sum + value, 0) / last.length;
  });
}

$("go").onclick = () => {
  if (!worker) return begin();
  $("go").disabled = true;
  if (losses.length === 0) { // nothing to keep
    status("Stopped before the first step");
    return end();
  }
  status("Stopping");
  worker.postMessage({ stop: true });
};

steps = wanted();
losses = [];
draw();
