/**
 * Numbers to the text a fleet file has for them: `50ms`, `20GiB`, `2%`. Owns the choice of the unit; whatever is
 * written here is read back as exactly the same number.
 */

/** A number without an exponent, which the file's grammar does not have. */
function plain(value: number): string {
  const text = String(value);
  return text.includes('e') ? value.toFixed(20).replace(/\.?0+$/, '') : text;
}

/** The largest unit in which a value is whole. */
function wholeUnit(value: number, units: readonly (readonly [string, number])[]): string | null {
  const unit = units.find(([, factor]) => value >= factor && value % factor === 0);
  return unit === undefined ? null : `${value / unit[1]}${unit[0]}`;
}

/** Writes milliseconds: `2m`, `1s`, `50ms`. */
export function timeText(ms: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const;
  return wholeUnit(ms, units) ?? `${plain(ms)}ms`;
}

/** Writes bytes: `20GiB`, `48GB`, `1025B`. */
export function sizeText(bytes: number): string {
  const units = [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['GB', 1e9],
    ['MB', 1e6],
    ['KiB', 2 ** 10],
  ] as const;
  return wholeUnit(bytes, units) ?? `${bytes}B`;
}

/** Writes a ratio: `2%`. The shortest text that reads back as the same ratio. */
export function shareText(ratio: number): string {
  const percent = ratio * 100;
  for (let digits = 1; digits <= 17; digits += 1) {
    const text = plain(Number(percent.toPrecision(digits)));
    if (Number(text) / 100 === ratio) return `${text}%`;
  }
  return `${plain(percent)}%`;
}
