// A chart of curves over steps, as SVG. A curve is {step, mean} and, for a band,
// {min, max}: lists of the same length.
import { number, whole } from './format.js';

const margin = { left: 52, right: 12, top: 8, bottom: 22 };
const space = 'http://www.w3.org/2000/svg';

function make(name, attributes = {}, text) {
  const e = document.createElementNS(space, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

export class Chart {
// series: [{key, name, style, smooth}]. log: a logarithmic axis; write and tick format
  // values and ticks; base: ticks are multiples of its powers.
  constructor(place, series, { log = false, write = number, tick = write, base = 10 } = {}) {
    Object.assign(this, { place, series, log, write, tick, base, data: {} });
    this.svg = make('svg', { role: 'img' });
    this.tip = document.createElement('div');
    this.tip.className = 'tip';
    this.tip.hidden = true;
    place.append(this.svg, this.tip);
    place.addEventListener('pointermove', (e) => this.point(e.clientX - place.getBoundingClientRect().left));
    place.addEventListener('pointerleave', () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(place);
  }

  show(data) {
    this.data = data;
    this.draw();
  }

  curves() {
    return this.series.map((s) => ({ ...s, ...this.data[s.key] })).filter((c) => c.step?.length)
      .map((c) => (c.smooth ? { ...c, mean: smooth(c.mean), min: undefined, max: undefined } : c));
  }

  // scales computes the ranges of the axes and the mapping from values to coordinates.
  scales(curves) {
    const { width, height } = this.place.getBoundingClientRect();
    let low = Infinity, high = -Infinity, last = 1;
    for (const c of curves) {
      for (const list of [c.mean, c.min ?? [], c.max ?? []]) {
        for (const v of list) {
          if (this.log && v <= 0) continue;
          low = Math.min(low, v);
          high = Math.max(high, v);
        }
      }
      last = Math.max(last, c.step.at(-1));
    }
    if (!(low <= high)) return null;
    if (this.log) {
      if (high < 1.5 * low) [low, high] = [Math.sqrt(low * high) / 1.3, Math.sqrt(low * high) * 1.3];
    } else {
      low = 0;
      high = high > 0 ? 1.05 * high : 1;
    }
    const t = this.log ? Math.log : (v) => v;
    const tall = height - margin.top - margin.bottom;
    this.x = (step) => margin.left + (step / last) * (width - margin.left - margin.right);
    this.y = (v) => margin.top + tall * (1 - (t(Math.max(v, this.log ? low : v)) - t(low)) / (t(high) - t(low)));
    return { width, height, low, high, last };
  }

  draw() {
    const curves = this.curves();
    const s = this.scales(curves);
    if (!s || s.width < 80) return;
    this.span = s;
    this.svg.setAttribute('viewBox', `0 0 ${s.width} ${s.height}`);
    const parts = [];
    for (const v of this.log ? logTicks(s.low, s.high) : ticks(s.low, s.high, s.height / 55, this.base)) {
      parts.push(make('line', { class: 'grid', x1: margin.left, x2: s.width - margin.right, y1: this.y(v), y2: this.y(v) }));
      parts.push(make('text', { x: margin.left - 8, y: this.y(v) + 4, 'text-anchor': 'end' }, this.tick(v)));
    }
    const foot = (x, text) => parts.push(make('text', { x, y: s.height - 4, 'text-anchor': 'middle' }, text));
    const end = s.width - margin.right - 14;
    for (const v of ticks(0, s.last, s.width / 110).filter(Number.isInteger)) {
      if (this.x(v) < end - 34) foot(this.x(v), whole(v));
    }
    foot(end, 'step');
    for (const c of curves) parts.push(...this.curve(c));
    this.at = make('line', { class: 'at', y1: margin.top, y2: s.height - margin.bottom, visibility: 'hidden' });
    this.svg.replaceChildren(...parts, this.at);
    this.svg.setAttribute('aria-label', curves.map((c) => `${c.name}: ${this.write(c.mean.at(-1))} at step ${c.step.at(-1)}`).join('; '));
    if (this.pointed !== undefined && this.pointed !== null) this.point(this.pointed);
  }

  curve(c) {
    const path = (values) => values.map((v, i) => `${this.x(c.step[i]).toFixed(1)},${this.y(v).toFixed(1)}`);
    if (c.style === 'band') {
      const outline = [...path(c.max), ...path(c.min).reverse()];
      return [make('path', { class: 'band', d: `M${outline.join('L')}Z` })];
    }
    const parts = [make('path', { class: `line ${c.style ?? ''}`, d: `M${path(c.mean).join('L')}` })];
    if (c.step.length === 1 || (c.style === 'held' && c.step.length <= 60)) {
      c.step.forEach((step, i) => parts.push(make('circle', { class: c.style ?? '', cx: this.x(step), cy: this.y(c.mean[i]), r: 3 })));
    }
    return parts;
  }

  // point returns the values at a position on the x axis; null: none.
  point(place) {
    this.pointed = place;
    const curves = this.curves();
    if (place === null || !this.span || !curves.length) {
      this.tip.hidden = true;
      this.at?.setAttribute('visibility', 'hidden');
      return;
    }
    const { width, last } = this.span;
    const wanted = ((place - margin.left) / (width - margin.left - margin.right)) * last;
    const step = curves[0].step[nearest(curves[0].step, wanted)];
    const lines = [`step ${whole(step)}`];
    for (const c of curves) {
      const i = nearest(c.step, step);
      lines.push(c.style === 'band' ? `${c.name}  ${this.write(c.min[i])} – ${this.write(c.max[i])}` : `${c.name}  ${this.write(c.mean[i])}`);
    }
    this.tip.textContent = lines.join('\n');
    this.tip.hidden = false;
    const x = this.x(step);
    this.tip.style.left = `${x < width / 2 ? x + 12 : x - 12 - this.tip.offsetWidth}px`;
    for (const end of ['x1', 'x2']) this.at.setAttribute(end, x);
    this.at.setAttribute('visibility', 'visible');
  }
}

// nearest is the index of the nearest value in an ascending list.
function nearest(list, wanted) {
  let low = 0, high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - list[low - 1] < list[low] - wanted ? low - 1 : low;
}

// smooth is a centred moving mean over a fiftieth of the values.
function smooth(values) {
  const reach = Math.floor(values.length / 100);
  let sum = 0, from = 0, to = 0;
  return values.map((_, i) => {
    while (to < Math.min(values.length, i + reach + 1)) sum += values[to++];
    while (from < i - reach) sum -= values[from++];
    return sum / (to - from);
  });
}

function ticks(low, high, about, base = 10) {
  const rough = (high - low) / Math.max(2, about);
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const every = (base === 10 ? [1, 2, 5, 10] : [1, base]).map((n) => n * power).find((n) => n >= rough);
  const all = [];
  for (let i = Math.ceil(low / every); i * every <= high; i++) all.push(Number((i * every).toPrecision(14)));
  return all;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const digits = decades > 4 ? [1] : decades > 0.7 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
  const all = [];
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10) {
    for (const d of digits) if (d * decade >= low && d * decade <= high) all.push(Number((d * decade).toPrecision(6)));
  }
  return all;
}
