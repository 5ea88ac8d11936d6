// Formatting of numbers.

export const whole = (n) => Math.round(n).toLocaleString('en-US');

// number formats with at most four significant digits.
export function number(x) {
  const size = Math.abs(x);
  if (size >= 1e4) return whole(x);
  if (size !== 0 && size < 1e-3) return x.toExponential(1).replace('e-0', 'e-');
  return String(Number(x.toPrecision(4)));
}

export function bytes(n) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (n < 1024) return `${unit === 'B' ? n : n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} TiB`;
}

export function duration(s) {
  s = Math.round(s);
  const part = (n, unit) => `${Math.floor(n)}${unit}`;
  if (s >= 86400) return `${part(s / 86400, 'd')} ${part((s % 86400) / 3600, 'h')}`;
  if (s >= 3600) return `${part(s / 3600, 'h')} ${part((s % 3600) / 60, 'm')}`;
  if (s >= 60) return `${part(s / 60, 'm')} ${part(s % 60, 's')}`;
  return `${s}s`;
}

export const dollars = (x) => `$${x.toFixed(2)}`;
