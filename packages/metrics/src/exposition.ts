/**
 * Reads Prometheus' text format back: for tests of what is exposed, and for whatever an engine exposes under
 * `vllm:` or `sglang:`. Owns the grammar (version 0.0.4, and OpenMetrics as far as it is the same); knows no metric.
 */

/** One sample: histograms have one for each `_bucket`, and `_sum` and `_count`. */
export interface ExposedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A whole exposition. */
export interface Exposition {
  readonly samples: readonly ExposedSample[];
  /** Type by metric name: `counter`, `gauge`, `histogram`, `summary`, `untyped`. */
  readonly types: ReadonlyMap<string, string>;
  /** Help by metric name, unescaped. */
  readonly help: ReadonlyMap<string, string>;
  /**
   * The value of the first of these names that has samples whose labels include the given ones, summed over them;
   * null when none has. Give the new name first and the names it replaced after it.
   */
  sum(names: string | readonly string[], labels?: Readonly<Record<string, string>>): number | null;
}

const NAME = /[A-Za-z_:][A-Za-z0-9_:]*/y;
const LABEL = /\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))/y;
const VALUE = /\s+([^\s#]+)(?:\s+-?[\d.]+)?\s*(?:#.*)?$/y;
const COMMENT = /^#\s*(HELP|TYPE)\s+([A-Za-z_:][A-Za-z0-9_:]*)\s*(.*)$/;
const SPECIAL: Readonly<Record<string, number>> = {
  '+inf': Number.POSITIVE_INFINITY,
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  nan: Number.NaN,
};

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
}

function parseNumber(text: string): number | null {
  const special = SPECIAL[text.toLowerCase()];
  if (special !== undefined) return special;
  const value = Number(text);
  return Number.isNaN(value) ? null : value;
}

function matchAt(pattern: RegExp, line: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(line);
}

function parseSample(line: string): ExposedSample | null {
  const name = matchAt(NAME, line, 0)?.[0];
  if (name === undefined) return null;
  const labels: Record<string, string> = {};
  let at = name.length;
  if (line[at] === '{') {
    at += 1;
    while (line[at] !== '}') {
      const label = matchAt(LABEL, line, at);
      if (label?.[1] === undefined || label[2] === undefined) return null;
      labels[label[1]] = unescaped(label[2]);
      at += label[0].length;
    }
    at += 1;
  }
  const value = parseNumber(matchAt(VALUE, line, at)?.[1] ?? '?');
  return value === null ? null : { name, labels, value };
}

/** Parses an exposition. A line that is none is left out: a scraper must survive one odd line. */
export function parseExposition(text: string): Exposition {
  const samples: ExposedSample[] = [];
  const types = new Map<string, string>();
  const help = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const comment = COMMENT.exec(line);
    if (comment?.[2] !== undefined) {
      const target = comment[1] === 'TYPE' ? types : help;
      target.set(
        comment[2],
        comment[1] === 'TYPE' ? (comment[3] ?? '').trim() : unescaped(comment[3] ?? ''),
      );
      continue;
    }
    const sample = line.startsWith('#') ? null : parseSample(line.trim());
    if (sample !== null) samples.push(sample);
  }
  return {
    samples,
    types,
    help,
    sum(names, labels = {}) {
      for (const name of typeof names === 'string' ? [names] : names) {
        const found = samples.filter(
          (sample) =>
            sample.name === name &&
            Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
        );
        if (found.length > 0) return found.reduce((total, sample) => total + sample.value, 0);
      }
      return null;
    },
  };
}
