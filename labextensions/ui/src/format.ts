/** Amounts as people read them. */
import type { Words } from './i18n';
import type { Flavor } from './types';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** 1610612736 → "1.5 GiB"; "used of total" share the unit of `like`, unless the amount would be hard to read in it. */
export function bytes(amount: number, like: number = amount): string {
  const size = amount !== 0 && Math.abs(amount) < like / 16 ? amount : like;
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, Math.abs(size))) / 10)));
  return `${trim(amount / 1024 ** power)} ${UNITS[power]}`;
}

/** At most three digits that matter: 0.25, 1.5, 12.3, 512. */
export function trim(value: number): string {
  const size = Math.abs(value);
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)));
}

/** 4800000, "CNY" → "4.80 CNY"; amounts below 1 that are no whole cents keep four digits. A column passes the digits of all its amounts. */
export function money(micro: number, currency: string, digits = decimals([micro])): string {
  const smallest = 10 ** -digits;
  const value = micro / 1e6;
  const text = value > 0 && value < smallest / 2 ? `< ${smallest.toFixed(digits)}` : value.toFixed(digits);
  return `${text} ${currency}`.trim();
}

/** How many digits after the point all amounts of a column are shown with. */
export function decimals(amounts: readonly number[]): number {
  return amounts.some(micro => micro !== 0 && Math.abs(micro) < 1e6 && micro % 10_000 !== 0) ? 4 : 2;
}

/** Seconds → "42 s", "3 min 20 s", "5 h 12 min", "2 d 3 h". */
export function duration(seconds: number, words: Words): string {
  const total = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(total / 86400), words.t('unit.days')],
    [Math.floor(total / 3600) % 24, words.t('unit.hours')],
    [Math.floor(total / 60) % 60, words.t('unit.minutes')],
    [total % 60, words.t('unit.seconds')]
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return `0 ${words.t('unit.seconds')}`;
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** How long ago (or how long until), in one unit. */
export function relative(iso: string, now: number, words: Words): string {
  const seconds = Math.round((new Date(iso).getTime() - now) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return words.t('time.now');
  const format = new Intl.RelativeTimeFormat(words.language, { numeric: 'always', style: 'short' });
  if (size < 60) return format.format(seconds, 'second');
  if (size < 3600) return format.format(Math.round(seconds / 60), 'minute');
  if (size < 86400) return format.format(Math.round(seconds / 3600), 'hour');
  if (size < 86400 * 30) return format.format(Math.round(seconds / 86400), 'day');
  return new Date(iso).toLocaleDateString(words.language);
}

export function exact(iso: string, words: Words): string {
  return new Date(iso).toLocaleString(words.language, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** "4 cores · 8 GiB · 2 × A100". */
export function spec(flavor: Flavor, words: Words): string {
  const parts = [words.t(flavor.cpu === 1 ? 'spec.core' : 'spec.cores', { count: trim(flavor.cpu) }), bytes(flavor.memory)];
  if (flavor.accelerator_count > 0) parts.push(`${flavor.accelerator_count} × ${flavor.accelerator_title || flavor.accelerator}`);
  return parts.join(' · ');
}

export function price(micro: number, currency: string, words: Words): string {
  return micro === 0 ? words.t('price.free') : words.t('price.hour', { price: money(micro, currency) });
}

/** A quota's amount in its own unit: cores, bytes or a count. */
export function quantity(resource: string, amount: number, like: number = amount): string {
  return resource === 'memory' || resource === 'storage' || resource === 'disk' ? bytes(amount, like) : trim(amount);
}

/** 0.98765 → "0.9877"; whole numbers stay whole. */
export function metric(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

/** A command as one would type it. */
export function commandLine(command: readonly string[]): string {
  return command.map(word => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

/** The reverse: words of a shell-like line; quotes and backslashes as in POSIX sh, nothing is expanded. */
export function splitCommand(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = '';
  for (let index = 0; index < line.length; index++) {
    const sign = line[index];
    if (quote) {
      if (sign === quote) quote = '';
      else if (sign === '\\' && quote === '"' && /["\\$`]/.test(line[index + 1] ?? '')) word = (word ?? '') + line[++index];
      else word = (word ?? '') + sign;
    } else if (sign === "'" || sign === '"') {
      quote = sign;
      word ??= '';
    } else if (sign === '\\' && index + 1 < line.length) word = (word ?? '') + line[++index];
    else if (/\s/.test(sign)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + sign;
  }
  if (word !== null) words.push(word);
  return words;
}
