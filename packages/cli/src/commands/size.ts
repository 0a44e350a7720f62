/**
 * `aim-gpu size M`: how many bytes a model takes, each explained (CONTRACT §5).
 */
import { writeFile } from 'node:fs/promises';
import { calibrate, createModelLibrary, explainSizing, parseStartupLog } from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { readTextFile } from '../read-text-file.js';
import { toModelSource, toSizeOptions } from '../size-options.js';
import type { SizingFlags } from '../sizing-flags.js';

/** Options of `size`. */
export interface SizeCommandOptions extends SizingFlags {
  /** A start-up log of vLLM or SGLang to compare with. */
  readonly calibrate?: string;
  /** Where the calibration goes, by default beside the log. */
  readonly out?: string;
}

/** Runs `size`. Exit code 0 also when the model does not fit: that is an answer. */
export async function size(
  context: CommandContext,
  model: string,
  options: SizeCommandOptions,
): Promise<number> {
  const library = createModelLibrary();
  const config = await library.load(toModelSource(context, model));
  const sizeOptions = await toSizeOptions(context, options, library);
  if (options.calibrate !== undefined) {
    const log = context.resolve(options.calibrate);
    const made = calibrate(config, sizeOptions, parseStartupLog(await readTextFile(log)), log);
    const out = context.resolve(options.out ?? `${log}.calibration.json`);
    await writeFile(out, `${JSON.stringify(made, null, 2)}\n`);
    if (context.json) context.print(made);
    else context.say(`calibration written to ${out}; use it with --calibration ${out}`);
    return 0;
  }
  const { sizing, text } = explainSizing(config, sizeOptions);
  if (context.json) context.print(sizing);
  else context.say(text);
  return 0;
}
