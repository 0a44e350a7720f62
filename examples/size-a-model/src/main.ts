/**
 * Sizes one model and says which layouts of a product hold it, by importing `@aim-gpu/sizing` alone.
 *
 *   npm start -w example-size-a-model -- [catalogue id | config.json | model directory] [product]
 */
import { formatBytes } from '@aim-gpu/core';
import { createModelLibrary, fitProduct, sizeModel } from '@aim-gpu/sizing';

const [source = 'Qwen/Qwen3-32B-FP8', product = 'MI300X'] = process.argv.slice(2);
const limits = {
  platform: 'rocm',
  maxModelLen: 8192,
  maxNumSeqs: 8,
  maxNumBatchedTokens: 2048,
} as const;

const config = await createModelLibrary().load(source);
const { parameters, perRank, kv } = sizeModel(config, limits);
console.log(`${source}: ${(parameters.total / 1e9).toFixed(2)} billion parameters`);
console.log(
  `weights ${formatBytes(perRank.weightsBytes)}, KV cache ${formatBytes(kv.bytesPerToken)} a token`,
);

for (const fit of fitProduct(config, { ...limits, product, concurrency: 4 }).layouts) {
  const size = `${fit.layout.padEnd(9)} ${formatBytes(fit.partitionMemoryBytes).padStart(9)}`;
  const verdict = fit.fits
    ? `holds 4 sequences of 8192 tokens, at most ${fit.maxConcurrency}`
    : `${fit.reasons[0]?.message}: ${fit.reasons[0]?.fix}`;
  console.log(`${size}  ${verdict}`);
}
