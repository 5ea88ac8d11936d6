// Fetches the run's state once a second and shows it. Text from the data or the model is
// set as text, never as HTML.
import { Chart } from './chart.js';
import { bytes, dollars, duration, number, whole } from './format.js';

const $ = (id) => document.getElementById(id);
const every = 1000; // milliseconds

const lossSeries = [
  { key: 'smooth', name: 'training, running mean' },
  { key: 'loss', name: 'training, each step', style: 'band' },
  { key: 'val', name: 'held-out rows', style: 'held' },
];
const charts = [
  new Chart($('chart-loss'), lossSeries, { log: true }),
  new Chart($('chart-tokens'), noisy('tokens_per_s'), { write: whole, tick: short }),
  new Chart($('chart-lr'), [{ key: 'lr', name: 'learning rate' }]),
  new Chart($('chart-norm'), noisy('grad_norm'), { log: true }),
  new Chart($('chart-memory'), [{ key: 'memory_bytes', name: 'memory' }], { write: bytes, tick: (n) => bytes(n).replace('.0 ', ' '), base: 2 }),
];

// noisy is a metric that varies from step to step: its range and its mean.
function noisy(key) {
  return [{ key, name: 'each step', style: 'band' }, { key, name: 'mean', smooth: true }];
}

let run = null; // the last response of /api/run
let shownStep = -1, chosen = null; // chosen: a validation's step; null = the newest

function short(n) {
  return n >= 1e6 ? `${number(n / 1e6)}M` : n >= 1e3 ? `${number(n / 1e3)}k` : number(n);
}

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function showHead({ state: s, ...r }) {
  document.title = `${s.steps ? `${Math.floor((100 * s.step) / s.steps)}% · ` : ''}${r.name}`;
  $('name').textContent = r.name;
  $('about').textContent = [r.preset, s.parameters && `${whole(s.parameters)} parameters`, r.device_name && `${r.device} (${r.device_name})`].filter(Boolean).join(' · ');
  showPhase(s.phase);
  $('done').style.width = `${s.steps ? (100 * s.step) / s.steps : 0}%`;
  $('steps').textContent = s.steps ? `step ${whole(s.step)} of ${s.steps_estimated && s.step < s.steps ? 'about ' : ''}${whole(s.steps)}` : 'preparing';
  $('left').textContent = s.phase === 'training' && s.seconds_left !== null ? `${duration(s.seconds_left)} left` : '';
  $('version').textContent = `vlmtool ${r.version}`;
}

function showPhase(phase) {
  $('state').dataset.phase = phase;
  $('phase').textContent = phase === 'gone' ? 'no connection to the run' : phase;
}

function showTiles({ state: s, ...r }) {
  const tiles = [
    ['Loss', s.loss, number],
    ['Held-out loss', s.val_loss, number],
    ['Tokens a second', s.tokens_per_s || null, whole],
    ['Images a second', s.images_per_s || null, number],
    ['Of peak', s.peak_fraction, (x) => `${(100 * x).toFixed(1)}%`],
    [r.device_memory_bytes ? `Of ${bytes(r.device_memory_bytes)}` : 'Memory', s.memory_bytes || null, bytes],
    ['Rows skipped', s.bad_rows, whole, s.bad_rows > 0],
    ['Steps skipped', s.skipped_steps, whole, s.skipped_steps > 0],
    ['Time left', s.seconds_left, duration],
    ['Cost left', s.dollars_left, dollars],
  ];
  $('tiles').replaceChildren(...tiles.filter(([, value]) => value !== null).map(([name, value, write, bad]) => {
    const tile = element('div', bad ? 'bad' : '');
    tile.append(element('dt', '', name), element('dd', '', write(value)));
    return tile;
  }));
}

function showSamples({ validations }) {
  if (!validations.length) return;
  const oldestFirst = [...validations].reverse();
  let at = chosen === null ? oldestFirst.length - 1 : oldestFirst.findIndex((v) => v.step === chosen);
  if (at < 0) at = oldestFirst.length - 1;
  const v = oldestFirst[at];
  $('pick').hidden = false;
  $('which').max = oldestFirst.length - 1;
  $('which').value = at;
  $('which-step').textContent = `after step ${whole(v.step)}${v.loss === null ? '' : `, loss ${number(v.loss)}`}`;
  const key = JSON.stringify(v);
  if ($('samples').dataset.key === key) return;
  $('samples').dataset.key = key;
  $('samples').replaceChildren(...v.samples.map(sampleCard));
  if (!v.samples.length) $('samples').append(element('p', 'none', 'No held-out samples.'));
}

function sampleCard(s) {
  const card = element('article', 'sample'), pictures = element('div', 'pictures'), words = element('div', 'words');
  for (const key of s.pictures) {
    const img = element('img');
    img.src = `api/pictures/${encodeURIComponent(key)}`;
    img.alt = 'the image of the question';
    pictures.append(img);
  }
  const right = s.answer.trim() === s.truth.trim();
  words.append(element('p', 'question', s.question));
  words.append(element('div', 'label', 'answer'), element('p', right ? 'answer right' : 'answer wrong', s.answer || '(nothing)'));
  if (!right) words.append(element('div', 'label', 'expected'), element('p', 'truth', s.truth));
  card.append(pictures, words);
  return card;
}

function showRanks({ state: s }) {
  const rates = s.rank_tokens_per_s || [];
  $('ranks').hidden = !rates.length;
  $('ranks').querySelector('ol').replaceChildren(...rates.map((rate, rank) => {
    const item = element('li', ''), bar = element('div', 'bar'), done = element('div', '');
    done.style.width = `${(100 * rate) / Math.max(...rates)}%`;
    bar.append(done);
    item.append(element('span', '', `rank ${rank}`), bar, element('span', '', whole(rate)));
    return item;
  }));
}

function showLists(r) {
  $('reasons').tBodies[0].replaceChildren(...r.bad_rows.map((b) => {
    const row = element('tr'), reason = element('td', '', b.reason);
    reason.append(element('small', '', `last: ${b.last}`));
    row.append(element('td', '', whole(b.count)), reason);
    return row;
  }));
  if (!r.bad_rows.length) $('reasons').tBodies[0].append(element('tr', 'none', 'None so far.'));
  $('events').replaceChildren(...r.events.map((e) => {
    const item = element('li', e.kind);
    item.append(element('time', '', new Date(e.time).toLocaleTimeString([], { hour12: false })), element('span', '', e.text));
    return item;
  }));
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function update() {
  try {
    run = await ask('api/run');
    for (const show of [showHead, showTiles, showRanks, showSamples, showLists]) show(run);
    const changed = `${run.state.step}/${run.validations.length}`;
    if (changed !== shownStep) {
      const curves = await ask('api/curves');
      for (const c of charts) c.show(curves);
      shownStep = changed;
    }
  } catch {
    const ended = run && run.state.phase !== 'training' && run.state.phase !== 'waiting';
    if (!ended) showPhase(run && run.state.step === run.state.steps && run.state.steps ? 'finished' : 'gone');
  }
}

async function follow() {
  if (!document.hidden) await update();
  setTimeout(follow, every);
}

$('legend').append(...lossSeries.map((s) => element('span', s.style ?? '', s.name)));
$('which').addEventListener('input', () => {
  const all = [...run.validations].reverse(), at = Number($('which').value);
  chosen = at === all.length - 1 ? null : all[at].step;
  showSamples(run);
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) update(); });
follow();
