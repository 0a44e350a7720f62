// Where tests find the committed model descriptions and the index of published parameter counts.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

/** Every config file of the repository, whole and partial, by file name. */
export const configFiles: ReadonlyMap<string, string> = new Map(
  [
    path.join(root, 'data/configs'),
    path.join(root, 'bench/data'),
    path.join(root, 'bench/data/partial'),
  ].flatMap((directory) =>
    readdirSync(directory)
      .filter((file) => file.endsWith('.json') && !file.endsWith('.hf_quant_config.json'))
      .map((file) => [file, path.join(directory, file)] as const),
  ),
);

/** Text of a config file. */
export function configText(file: string): string {
  const found = configFiles.get(file);
  if (found === undefined) throw new Error(`no config ${file}`);
  return readFileSync(found, 'utf8');
}

/** One row of the index: what is published and what an independent formula gives. */
export interface IndexRow {
  readonly model: string;
  readonly file: string;
  readonly published: number | null;
  readonly formula: number | null;
  readonly exact: boolean;
  readonly note: string;
}

/** The index of published parameter counts. */
export function indexRows(): readonly IndexRow[] {
  const [, ...lines] = readFileSync(path.join(root, 'bench/data/INDEX.tsv'), 'utf8')
    .trim()
    .split('\n');
  return lines.map((line) => {
    const [model = '', file = '', published = '', , formula = '', verdict = '', note = ''] =
      line.split('\t');
    return {
      model,
      file,
      published: published === '' ? null : Number(published),
      formula: formula === '' ? null : Number(formula),
      exact: verdict === 'exact',
      note,
    };
  });
}
