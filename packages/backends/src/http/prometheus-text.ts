/**
 * Reads Prometheus' text format (version 0.0.4) as engines write it. Owns the grammar; knows no metric.
 */

/** One sample of a scrape. */
interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A scrape, by metric name. */
export type Scrape = ReadonlyMap<string, readonly MetricSample[]>;

const SAMPLE = /^([A-Za-z_:][\w:]*)\s*(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$/;
const LABEL = /\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/y;
const SPECIAL: Readonly<Record<string, number>> = {
  '+Inf': Number.POSITIVE_INFINITY,
  '-Inf': Number.NEGATIVE_INFINITY,
  NaN: Number.NaN,
};

/** Parses a scrape; lines that are no samples are left out, as a scraper must survive one odd line. */
export function parsePrometheusText(text: string): Scrape {
  const scrape = new Map<string, MetricSample[]>();
  for (const line of text.split('\n')) {
    const sample = line.startsWith('#') ? null : parseSample(line.trimEnd());
    if (sample === null) continue;
    const known = scrape.get(sample.name);
    if (known === undefined) scrape.set(sample.name, [sample]);
    else known.push(sample);
  }
  return scrape;
}

function parseSample(line: string): MetricSample | null {
  const match = SAMPLE.exec(line);
  if (match?.[1] === undefined || match[3] === undefined) return null;
  const value = SPECIAL[match[3]] ?? Number(match[3]);
  if (Number.isNaN(value) && match[3] !== 'NaN') return null;
  const labels = parseLabels(match[2] ?? '');
  return labels === null ? null : { name: match[1], labels, value };
}

function parseLabels(text: string): Record<string, string> | null {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text);
    if (match?.[1] === undefined || match[2] === undefined) return null;
    labels[match[1]] = match[2].replaceAll(/\\(.)/g, (_, escaped: string) =>
      escaped === 'n' ? '\n' : escaped,
    );
  }
  return labels;
}

/** Sum over the samples of the first of `names` that the scrape has; null when it has none. Old and new names go here. */
export function sumOf(scrape: Scrape, ...names: readonly string[]): number | null {
  for (const name of names) {
    const samples = scrape.get(name);
    if (samples !== undefined) return samples.reduce((sum, sample) => sum + sample.value, 0);
  }
  return null;
}

/** Mean over the samples of the first of `names` that the scrape has; null when it has none. */
export function meanOf(scrape: Scrape, ...names: readonly string[]): number | null {
  for (const name of names) {
    const samples = scrape.get(name);
    if (samples !== undefined && samples.length > 0)
      return samples.reduce((sum, sample) => sum + sample.value, 0) / samples.length;
  }
  return null;
}
