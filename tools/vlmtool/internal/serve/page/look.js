// Where the model looked: a word of an answer shows, over the pictures of the conversation, the attention
// from which the model predicted it.
import { element } from "./element.js";

const ramp = [[255, 247, 214], [254, 217, 118], [253, 153, 66], [233, 62, 42], [139, 8, 42]]; // as in infer --explain
const small = 160; // pixels: smaller pictures are enlarged, so that their patches can be told apart

let shown = null; // what closes the map that is shown
let asking = new AbortController();
let hinted = false;

// framed puts a picture into a frame, in which maps are laid over it.
export function framed(picture) {
  const frame = element("span", "picture");
  picture.addEventListener("load", () => {
    const { naturalWidth: width, naturalHeight: height } = picture;
    if (Math.max(width, height) < small) picture.width = Math.round(width * small / Math.max(width, height));
  });
  frame.append(picture);
  return frame;
}

// closeMap removes the map, and reports whether there was one.
export function closeMap() {
  const was = shown;
  shown = null;
  was?.();
  return was !== null;
}

// forgetMaps is for when the conversation goes on: nothing that was asked for will be shown.
export function forgetMaps() {
  closeMap();
  asking.abort();
  asking = new AbortController();
}

// A map is closed before anything else that Escape does.
addEventListener("keydown", event => {
  if (event.key === "Escape" && closeMap()) event.stopImmediatePropagation();
}, { capture: true });

// segments are the words of a text, and what is between them.
const segments = text => globalThis.Intl?.Segmenter
  ? [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)]
  : text.split(/(\s+)/).map(segment => ({ segment, isWordLike: /\S/.test(segment) }));

// lookable makes the words of an answer buttons. frames are those of all pictures of the conversation, and
// ask returns the server's attention on them.
export function lookable(answer, text, frames, ask) {
  let at = 0; // characters, as the server counts them
  const words = [];
  const parts = segments(text).map(({ segment, isWordLike }) => {
    const start = at;
    at += [...segment].length;
    if (!isWordLike) return segment;
    const button = element("span", "word", segment); // a button element would break lines badly and could not be selected
    button.setAttribute("role", "button");
    button.setAttribute("aria-label", `Where the model looked for “${segment}”`);
    button.setAttribute("aria-pressed", "false");
    button.tabIndex = -1;
    words.push({ button, text: segment, start, end: at });
    return button;
  });
  if (words.length === 0) return;
  words[0].button.tabIndex = 0;
  answer.setAttribute("aria-live", "off"); // it has been read
  answer.setAttribute("role", "group");
  answer.setAttribute("aria-label", "Answer, in words to choose from");
  answer.replaceChildren(...parts);
  const caption = element("div", "look", hinted ? undefined : "Choose a word to see where the model looked.");
  caption.hidden = hinted;
  hinted = true;
  answer.after(caption);

  let attention = null; // of this answer; asked for once
  async function toggle(word) {
    const again = word.button.getAttribute("aria-pressed") === "true";
    closeMap();
    if (again) return;
    const close = shown = () => {
      word.button.setAttribute("aria-pressed", "false");
      frames.forEach(clear);
      caption.hidden = true;
      caption.replaceChildren();
    };
    word.button.setAttribute("aria-pressed", "true");
    caption.hidden = false;
    caption.classList.remove("error");
    caption.textContent = "…";
    try {
      const got = await (attention ??= ask(asking.signal));
      if (shown === close) show(got, word, frames, caption);
    } catch (error) {
      attention = null;
      if (shown !== close) return;
      closeMap();
      caption.hidden = false;
      caption.classList.add("error");
      caption.textContent = error.message;
    }
  }

  const wordOf = target => words.find(word => word.button === target);
  const focus = word => {
    for (const other of words) other.button.tabIndex = other === word ? 0 : -1;
    word.button.focus();
  };
  answer.addEventListener("click", event => {
    const word = wordOf(event.target);
    if (!word || !getSelection().isCollapsed) return; // text is being selected
    focus(word);
    toggle(word);
  });
  answer.addEventListener("keydown", event => {
    const i = words.indexOf(wordOf(event.target));
    const next = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: words.length - 1 }[event.key];
    if (i < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (words[next]) focus(words[next]);
    else if (event.key === "Enter" || event.key === " ") toggle(words[i]);
    else if (next === undefined) return;
    event.preventDefault();
  });
}

// show lays the map of a word over the pictures, and describes it.
function show({ images, tokens }, word, frames, caption) {
  const of = tokens.filter(token => token.start < word.end && token.end > word.start);
  if (of.length === 0) {
    caption.textContent = "The answer is too long to show this word.";
    return;
  }
  const mean = value => of.reduce((sum, token) => sum + value(token), 0) / of.length;
  const maps = images.map((image, i) => Array.from({ length: image.rows * image.columns }, (_, patch) => mean(token => token.weights[i][patch])));
  const most = Math.max(...maps.flat());
  const copies = element("div", "copies");
  images.forEach((image, i) => {
    const frame = frames[image.index];
    overlay(frame, image, maps[i], most);
    if (visible(frame)) return;
    const original = frame.querySelector("img"), picture = element("img");
    picture.src = original.src;
    picture.alt = original.alt;
    const copy = framed(picture);
    overlay(copy, image, maps[i], most);
    copies.append(copy);
    picture.decode().then(() => caption.scrollIntoView({ block: "nearest" }), () => {}); // now that it has its size
  });
  const percent = share => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
  caption.replaceChildren(
    element("span", "", `“${word.text}”: ${percent(mean(token => token.image))} of attention on the ${images.length > 1 ? "pictures" : "picture"}`),
    element("span", "scale", `up to ${percent(most)} on a patch`));
  if (copies.childElementCount > 0) caption.append(copies);
}

// visible reports whether a frame is within its scrolled parent.
function visible(frame) {
  const { top, bottom } = frame.getBoundingClientRect(), log = frame.closest("main").getBoundingClientRect();
  return top >= log.top - 8 && bottom <= log.bottom + 8;
}

// overlay paints the weights of the patches over the part of a picture that the model saw.
function overlay(frame, { rows, columns, region }, weights, most) {
  clear(frame);
  const canvas = element("canvas", "map");
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d"), cells = context.createImageData(columns, rows);
  weights.forEach((weight, i) => {
    const share = most > 0 ? weight / most : 0;
    cells.data.set([...colour(share), 230 * Math.sqrt(share)], 4 * i);
  });
  context.putImageData(cells, 0, 0);
  for (const side of ["left", "top", "width", "height"]) canvas.style[side] = `${100 * region[side]}%`;
  frame.classList.add("looked");
  frame.append(canvas);
}

function clear(frame) {
  frame.classList.remove("looked");
  frame.querySelector(".map")?.remove();
}

// colour is that of a value from 0 to 1 on the ramp.
function colour(value) {
  const at = value * (ramp.length - 1), i = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[i].map((from, channel) => from + (ramp[i + 1][channel] - from) * (at - i));
}
