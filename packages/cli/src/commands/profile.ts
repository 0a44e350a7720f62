/**
 * `aim-gpu profile generate|validate`: profiles for AMD's inference containers (CONTRACT §5).
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import {
  type AimMetric,
  createModelLibrary,
  generateAimProfile,
  toAimProfileYaml,
  validateAimProfile,
} from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { readTextFile } from '../read-text-file.js';
import { chooseGpu, toModelSource, usage } from '../size-options.js';
import type { SizingFlags } from '../sizing-flags.js';

/** Options of `profile generate`. */
export interface GenerateOptions extends SizingFlags {
  readonly metric: string;
  readonly out?: string;
}

const EXIT_INVALID = 2;

/** Runs `profile generate`. Throws `ERR_DOES_NOT_FIT` (refused) when the model cannot run there. */
export async function generateProfile(
  context: CommandContext,
  model: string,
  options: GenerateOptions,
): Promise<number> {
  const gpu = chooseGpu(options);
  if (gpu === null)
    throw usage('profile generate needs --gpu', 'for example --gpu MI300X --layout CPX/NPS4');
  const config = await createModelLibrary().load(toModelSource(context, model));
  const made = generateAimProfile(config, {
    aimId: model,
    product: gpu.product.name,
    layout: gpu.layout,
    metric: toMetric(options.metric),
    ...(options.tensorParallelSize === undefined ? {} : { tensor: options.tensorParallelSize }),
    ...(options.quantization === undefined ? {} : { quantization: options.quantization }),
    ...(options.kvCacheDtype === undefined ? {} : { kvCacheDtype: options.kvCacheDtype }),
    ...(options.maxModelLen === undefined ? {} : { maxModelLen: options.maxModelLen }),
  });
  if (!made.ok) {
    throw new AimError({
      code: 'ERR_DOES_NOT_FIT',
      kind: 'refused',
      message: made.reasons.map((reason) => reason.message).join('; '),
      hint: made.reasons[0]?.fix ?? 'see `aim-gpu fit`',
      details: { reasons: made.reasons },
    });
  }
  const text = toAimProfileYaml(made.profile);
  if (options.out !== undefined) {
    const file = path.join(context.resolve(options.out), made.file);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
    await writeFile(
      `${file.replace(/\.yaml$/, '')}.placement.json`,
      `${JSON.stringify(made.sidecar, null, 2)}\n`,
    );
    if (!context.json) context.say(`${file}, with its placement beside it`);
  } else if (!context.json) {
    context.say(text.trimEnd());
  }
  if (context.json)
    context.print({ file: made.file, profile: made.profile, placement: made.sidecar });
  return 0;
}

/** Runs `profile validate`. Exit code 2 when a file is invalid or cannot be read. */
export async function validateProfiles(
  context: CommandContext,
  files: readonly string[],
): Promise<number> {
  const results = await Promise.all(
    files.map(async (file) => ({
      file,
      ...(await validateAimProfile(await readTextFile(context.resolve(file)), file)),
    })),
  );
  if (context.json) context.print({ results });
  else {
    for (const { file, valid, errors } of results) {
      context.say(
        valid
          ? `${file}: valid`
          : [`${file}: invalid`, ...errors.map((error) => `  ${error}`)].join('\n'),
      );
    }
  }
  return results.every((result) => result.valid) ? 0 : EXIT_INVALID;
}

function toMetric(text: string): AimMetric {
  if (text === 'latency' || text === 'throughput') return text;
  throw usage(`--metric must be latency or throughput, not ${text}`, 'leave it out for throughput');
}
